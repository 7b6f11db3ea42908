-- How many results have a blob. Argument: 3 the blob. Those that have it no more are forgotten.

local users = P .. 'users:' .. ARGV[3]
for _, key in ipairs(redis.call('SMEMBERS', users)) do
  if redis.call('HGET', P .. 'result:' .. key, 'blob') ~= ARGV[3] then redis.call('SREM', users, key) end
end
return redis.call('SCARD', users)
