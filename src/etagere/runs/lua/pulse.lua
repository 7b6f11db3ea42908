-- Say that somebody is there, and hear how things stand. Arguments: 3 a name, or empty; 4 what is said of it, as JSON,
-- or empty where it goes; 5 an epoch to begin where there is none, 6 after how many seconds others are gone.

room_or_not()
if ARGV[3] ~= '' then
  if ARGV[4] ~= '' then
    redis.call('HSET', P .. 'nodes', ARGV[3], ARGV[4])
    redis.call('ZADD', P .. 'seen', number(MOMENT), ARGV[3])
  else
    redis.call('HDEL', P .. 'nodes', ARGV[3])
    redis.call('ZREM', P .. 'seen', ARGV[3])
  end
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'seen', '-inf', number(MOMENT - tonumber(ARGV[6])))) do
  redis.call('HDEL', P .. 'nodes', name)
  redis.call('ZREM', P .. 'seen', name)
end
redis.call('HSETNX', P .. 'meta', 'epoch', ARGV[5])
local found = redis.call('HMGET', P .. 'meta', 'epoch', 'seq', 'draining', 'purges')
return { found[1], found[2] or '0', found[3] or '', found[4] or '0' }
