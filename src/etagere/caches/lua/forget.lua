-- Forget results and failures of a model that ended before some time. Arguments: 3 the model (a name, name@version, or
-- empty for all), 4 the time, then ids. Answers: how many results, failures, bytes.

local wanted, before = ARGV[3], tonumber(ARGV[4])
local results, failures, bytes = 0, 0, 0
for i = 5, #ARGV do
  local id = ARGV[i]
  local model = redis.call('HGET', P .. 'ghost:' .. id, 'model') or ''
  if wanted == '' or model == wanted or string.match(model, '^[^@]*') == wanted then
    local created = redis.call('HGET', P .. 'result:' .. id, 'created')
    if created and tonumber(created) < before then
      bytes = bytes + tonumber(redis.call('HGET', P .. 'result:' .. id, 'size'))
      for _, name in ipairs(redis.call('SMEMBERS', P .. 'variants:' .. id)) do
        bytes = bytes + tonumber(redis.call('HGET', P .. 'result:' .. id .. '.' .. name, 'size') or 0)
      end
      drop_variants(id)
      results = results + drop(id)
    end
    local failed = redis.call('HGET', P .. 'failure:' .. id, 'created')
    if failed and tonumber(failed) < before then failures = failures + redis.call('DEL', P .. 'failure:' .. id) end
  end
end
return { results, failures, bytes }
