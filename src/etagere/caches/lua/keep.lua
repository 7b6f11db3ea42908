-- Keep the end of a run; the first representation wins. Arguments: 3 the id, 4 a JSON object of `about` (the fields of a
-- result or failure), `ghost` (uri, model, seconds), `ttl`, `ghost_ttl` and, of a failure, `expires` (milliseconds since
-- the epoch); 5 the body; 6 the date. Answers: what is kept, whether
-- that was there before, and the digest that another run had given, or nothing.

local id, given, body, now = ARGV[3], cjson.decode(ARGV[4]), ARGV[5], ARGV[6]
local _, ghost = hash('ghost:' .. id)
if ghost.uri and ghost.uri ~= given.ghost.uri then return redis.error_reply('COLLISION ' .. ghost.uri) end

local flat, there = hash('result:' .. id)
local first, digest = false, given.about.digest
local before = there.digest or ghost.digest
if digest and before and before ~= digest then first = before end

local remembered = { 'uri', given.ghost.uri, 'model', given.ghost.model, 'seconds', given.ghost.seconds }
local known = there.digest or digest
if known then
  table.insert(remembered, 'digest')
  table.insert(remembered, known)
end
if first then
  for _, part in ipairs({ 'first', first, 'later', digest, 'seen', now }) do table.insert(remembered, part) end
end
redis.call('HSET', P .. 'ghost:' .. id, unpack(remembered))
redis.call('EXPIRE', P .. 'ghost:' .. id, given.ghost_ttl)

if there.digest then return { flat, 1, first } end
if not digest then
  local fields = fields_of(given.about, body)
  put('failure:' .. id, fields, given.ttl)
  redis.call('PEXPIREAT', P .. 'failure:' .. id, given.expires)
  return { fields, 0, false }
end
drop_variants(id)
redis.call('DEL', P .. 'failure:' .. id)
local fields = fields_of(given.about, body)
put('result:' .. id, fields, given.ttl)
used(given.about, id)
return { fields, 0, first }
