-- What there is of a resource, which is used by that. Arguments: 3 the id, 4 and 5 the milliseconds that results and
-- ghosts are kept. Answers: the ghost, the result, the failure, the names of variants and those.

local id, ttl = ARGV[3], ARGV[4]
local ghost = hash('ghost:' .. id)
local result, there = hash('result:' .. id)
local variants = {}
touch('ghost:' .. id, ARGV[5])
if #result == 0 then return { ghost, result, (hash('failure:' .. id)), variants } end
for _, key in ipairs({ 'result:', 'variants:' }) do touch(key .. id, ttl) end
for _, name in ipairs(redis.call('SMEMBERS', P .. 'variants:' .. id)) do
  local flat, variant = hash('result:' .. id .. '.' .. name)
  if variant.of == there.digest then
    variants[#variants + 1] = { name, flat }
    touch('result:' .. id .. '.' .. name, ttl)
  end
end
return { ghost, result, {}, variants }
