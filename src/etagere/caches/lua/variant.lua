-- Keep a variant of a result; the first of its name wins. Arguments: 3 the id, 4 the digest of the result, 5 the name, 7
-- a JSON object of `about` and `ttl`, 7 the body. Answer: what is kept, or nothing where the result is not there.

local id, name, given = ARGV[3], ARGV[5], cjson.decode(ARGV[6])
if redis.call('HGET', P .. 'result:' .. id, 'digest') ~= ARGV[4] then return false end
local key = id .. '.' .. name
local flat = hash('result:' .. key)
if #flat > 0 then return flat end
local fields = fields_of(given.about, ARGV[7])
put('result:' .. key, fields, given.ttl)
used(given.about, key)
redis.call('SADD', P .. 'variants:' .. id, name)
redis.call('EXPIRE', P .. 'variants:' .. id, given.ttl)
return fields
