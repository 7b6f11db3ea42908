-- What there is of a resource, which is used by that. Arguments: 3 the id, 4 and 5 the seconds that results and ghosts
-- are kept. Answers: the ghost, the result, the failure, the variants.

local id = ARGV[3]
local ghost = hash('ghost:' .. id)
local result = hash('result:' .. id)
local variants = {}
for _, name in ipairs(redis.call('SMEMBERS', P .. 'variants:' .. id)) do
  local found = hash('result:' .. id .. '.' .. name)
  if #found > 0 then
    variants[#variants + 1] = found
    redis.call('EXPIRE', P .. 'result:' .. id .. '.' .. name, ARGV[4])
  end
end
for _, key in ipairs({ 'result:', 'variants:' }) do redis.call('EXPIRE', P .. key .. id, ARGV[4]) end
redis.call('EXPIRE', P .. 'ghost:' .. id, ARGV[5])
return { ghost, result, (hash('failure:' .. id)), variants }
