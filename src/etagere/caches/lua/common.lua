-- What the scripts of the shared cache begin with. All of it has a time to live, so that a store that is full may evict
-- it: result:<id> and result:<id>.<variant>, variants:<id>, failure:<id>, ghost:<id>, printed:<id>. Only users:<digest>
-- has none, the keys of the results that a blob serves.

local P = KEYS[1]

local function hash(key)
  local flat = redis.call('HGETALL', P .. key)
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return flat, found
end

local function put(key, fields, ttl)
  redis.call('DEL', P .. key)
  redis.call('HSET', P .. key, unpack(fields))
  redis.call('EXPIRE', P .. key, ttl)
end

local function fields_of(about, body)
  local flat = { 'body', body }
  for field, value in pairs(about) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  return flat
end

local function used(about, key)
  if about.blob and about.blob ~= '' then redis.call('SADD', P .. 'users:' .. about.blob, key) end
end

local function drop(key)
  local blob = redis.call('HGET', P .. 'result:' .. key, 'blob')
  if blob and blob ~= '' then redis.call('SREM', P .. 'users:' .. blob, key) end
  return redis.call('DEL', P .. 'result:' .. key)
end

local function drop_variants(id)
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'variants:' .. id)) do drop(id .. '.' .. name) end
  redis.call('DEL', P .. 'variants:' .. id)
end
