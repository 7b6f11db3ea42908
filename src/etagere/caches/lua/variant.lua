-- Keep a variant of a result; the first of its name wins. Arguments: 3 the id, 4 the digest of the result, 5 the name,
-- 6 a JSON object of `about` and `ttl` in milliseconds, 7 the body. Answer: what was there before, empty where nothing
-- was; or nothing where the result is not there.

local id, of, name, given = ARGV[3], ARGV[4], ARGV[5], cjson.decode(ARGV[6])
if redis.call('HGET', P .. 'result:' .. id, 'digest') ~= of then return false end
local key = id .. '.' .. name
local flat, there = hash('result:' .. key)
redis.call('SADD', P .. 'variants:' .. id, name)
redis.call('PEXPIRE', P .. 'variants:' .. id, given.ttl)
-- The set may have been evicted without the variant, and the result been given other bytes since.
if there.of == of then return flat end
drop(key)
put('result:' .. key, given.about, given.ttl, 'body', ARGV[7], 'of', of)
used(given.about.blob, key)
return {}
