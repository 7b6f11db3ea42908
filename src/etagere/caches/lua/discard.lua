-- Forget a result that is not what was put, with its variants, or a variant by itself. Arguments: 3 its id, or key; 4 its
-- digest, so that another one stays.

local key = ARGV[3]
if redis.call('HGET', P .. 'result:' .. key, 'digest') ~= ARGV[4] then return 0 end
if string.find(key, '.', 1, true) then drop(key) else drop_all(key) end
return 1
