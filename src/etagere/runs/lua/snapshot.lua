-- A part of what is pending. Arguments: 3 behind which place (its order, or -inf), 4 how many.

local ids = redis.call('ZRANGEBYSCORE', P .. 'runs', ARGV[3], '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[4]))
local found, last = {}, ''
for i = 1, #ids, 2 do
  local run = load(ids[i])
  if run then
    run.uri = nil
    found[#found + 1] = cjson.encode(run)
  end
  last = '(' .. ids[i + 1]
end
return { redis.call('HGET', P .. 'meta', 'seq') or '0', last, found, redis.call('HGETALL', P .. 'share:since') }
