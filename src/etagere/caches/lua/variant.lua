-- Keep a variant of a result; the first of its name wins. Arguments: 4 the id, 5 the digest of the result, 6 the name, 7
-- a JSON object of `about` and `ttl`, 8 the body. Answer: what is kept, or nothing where the result is not there.

local id, name, given = ARGV[4], ARGV[6], cjson.decode(ARGV[7])
if redis.call('HGET', P .. 'result:' .. id, 'digest') ~= ARGV[5] then return false end
local key = id .. '.' .. name
local flat = hash('result:' .. key)
if #flat > 0 then return flat end
local fields = fields_of(given.about, ARGV[8])
put('result:' .. key, fields, given.ttl)
used(given.about, key)
redis.call('SADD', P .. 'variants:' .. id, name)
redis.call('EXPIRE', P .. 'variants:' .. id, given.ttl)
return fields
