-- Forget results and failures of a model that ended before some time. Arguments: 3 the model (a name, name@version, or
-- empty for all), 4 the time, then ids. Answers: how many results, failures, bytes; and the blobs that nobody has any
-- more.

local wanted, before = ARGV[3], tonumber(ARGV[4])
local results, failures, bytes, free = 0, 0, 0, {}

local function is_meant(key)
  local found = redis.call('HMGET', P .. key, 'model', 'created')
  if not found[1] or tonumber(found[2]) >= before then return false end
  return wanted == '' or found[1] == wanted or string.match(found[1], '^[^@]*') == wanted
end

local function size(key)
  return tonumber(redis.call('HGET', P .. 'result:' .. key, 'size') or 0)
end

for i = 5, #ARGV do
  local id = ARGV[i]
  if is_meant('result:' .. id) then
    results, bytes = results + 1, bytes + size(id)
    for _, name in ipairs(redis.call('SMEMBERS', P .. 'variants:' .. id)) do bytes = bytes + size(id .. '.' .. name) end
    for _, blob in ipairs(drop_all(id)) do free[#free + 1] = blob end
  end
  if is_meant('failure:' .. id) then failures = failures + redis.call('DEL', P .. 'failure:' .. id) end
end
return { results, failures, bytes, free }
