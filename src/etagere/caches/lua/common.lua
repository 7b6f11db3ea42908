-- What the scripts of the shared cache begin with. Behind the prefix, which is KEYS[1], the keys are:
--   result:<id>            hash: the fields of a result, `body`, and the `uri` and `model` of its resource. Of a large
--                          one the body is empty, and `blob` the SHA-256 in hexadecimal by which results/<blob> is named
--   result:<id>.<variant>  hash: the same of a variant; `of` is the digest of the result that it belongs to
--   variants:<id>          set: the names of variants
--   failure:<id>           hash: the fields of a failure, `uri` and `model`
--   ghost:<id>             hash: uri, model, seconds, digest; first, later and seen of a difference
--   printed:<id>           hash: attempt, outcome, finished, output, traceback
--   users:<blob>           set: the <id> or <id>.<variant> of those results that may have this blob
--   purges                 list of JSON, the newest first: {model, before}; `purges` in the hash `meta` counts them
-- All that the cache can do without has a time to live, so that a store that is full may evict it: each key by itself,
-- so that each one can be understood without the others. users, purges and meta have none.

local P = KEYS[1]

local function hash(key)
  local flat = redis.call('HGETALL', P .. key)
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return flat, found
end

-- The fields of a kind of key are always the same, so that none is left over.
local function put(key, about, ttl, ...)
  local flat = { ... }
  for field, value in pairs(about) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', P .. key, unpack(flat))
  redis.call('PEXPIRE', P .. key, ttl)
end

-- What is used often is not written to as often.
local function touch(key, ttl)
  local left = redis.call('PTTL', P .. key)
  if left >= 0 and left < tonumber(ttl) * 0.9 then redis.call('PEXPIRE', P .. key, ttl) end
end

local function used(blob, key)
  if blob and blob ~= '' then redis.call('SADD', P .. 'users:' .. blob, key) end
end

-- Forget a result; its blob, where it was the last to have it.
local function drop(key)
  local blob = redis.call('HGET', P .. 'result:' .. key, 'blob')
  redis.call('DEL', P .. 'result:' .. key)
  if not blob or blob == '' then return nil end
  redis.call('SREM', P .. 'users:' .. blob, key)
  return redis.call('EXISTS', P .. 'users:' .. blob) == 0 and blob or nil
end

-- Forget a result with its variants; the blobs that nobody has any more.
local function drop_all(id)
  local free = { drop(id) }
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'variants:' .. id)) do free[#free + 1] = drop(id .. '.' .. name) end
  redis.call('DEL', P .. 'variants:' .. id)
  return free
end
