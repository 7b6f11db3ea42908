-- Keep the end of a run; the first representation wins. Arguments: 3 the id, 4 a JSON object of `about` (the fields of a
-- result or failure), `ghost` (uri, model, seconds), `ttl` and `ghost_ttl` in milliseconds, 5 the body, 6 the date.
-- Answers: what was there before, or nothing; and the digest that another run had given, or nothing.

local id, given, body, now = ARGV[3], cjson.decode(ARGV[4]), ARGV[5], ARGV[6]
local _, ghost = hash('ghost:' .. id)
local flat, there = hash('result:' .. id)
local uri = ghost.uri or there.uri
if uri and uri ~= given.ghost.uri then return redis.error_reply('COLLISION ' .. uri) end

local digest = given.about.digest
local before, first = there.digest or ghost.digest, false
if digest and before and before ~= digest then first = before end

local remembered = {}
if there.digest or digest then remembered = { 'digest', there.digest or digest } end
if first then
  for _, part in ipairs({ 'first', first, 'later', digest, 'seen', now }) do table.insert(remembered, part) end
end
put('ghost:' .. id, given.ghost, given.ghost_ttl, unpack(remembered))

if there.digest then return { flat, first } end
local whose = { 'uri', given.ghost.uri, 'model', given.ghost.model }
if not digest then
  put('failure:' .. id, given.about, given.ttl, unpack(whose))
  return { {}, false }
end
drop_all(id)
redis.call('DEL', P .. 'failure:' .. id)
put('result:' .. id, given.about, given.ttl, 'body', body, unpack(whose))
used(given.about.blob, id)
return { {}, first }
