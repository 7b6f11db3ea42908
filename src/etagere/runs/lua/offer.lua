-- Join the run of a resource or start one. Arguments: 3 a JSON object, see Rules.offer; 4 the canonical URI.
-- With unless_finished it is not started where there is a result or a failure.

local given, uri = cjson.decode(ARGV[3]), ARGV[4]
local id = given.id

local function drop(from)
  local oldest = redis.call('ZRANGE', P .. from, 0, 0)[1]
  local run = oldest and load(oldest)
  if run then stop(run, 'cancelled', 'drop') end
  return run ~= nil and run ~= false
end

local found = load(id)
if found then
  if found.uri ~= uri then return done('collision', found.uri) end
  return done('joined', told(found))
end
if given.unless_finished and redis.call('EXISTS', P .. 'result:' .. id, P .. 'failure:' .. id) > 0 then
  return done('finished')
end
if redis.call('HGET', P .. 'meta', 'draining') == '1' then return done('draining') end

local whole
if given.client ~= '' and given.each then
  local now = tonumber(NOW)
  local before = tonumber(redis.call('ZSCORE', P .. 'quota', given.client) or now)
  before = math.min(before, now + given.seconds)
  whole = math.max(before, now) + given.each
  if whole - now > given.seconds + given.slack then return done('quota', number(before), NOW) end
end

local function full()
  local pending = redis.call('ZCARD', P .. 'runs')
  local bytes = tonumber(redis.call('HGET', P .. 'meta', 'bytes') or 0)
  return pending >= given.max_pending or (pending > 0 and bytes + #uri > given.largest)
end

local function exhausted()
  if given.client == '' then return false end
  return tonumber(redis.call('HGET', P .. 'started', given.client) or 0) >= given.share
end

while full() do
  if not drop('abandoned') then return done('full', tostring(redis.call('ZCARD', P .. 'runs'))) end
end
while exhausted() do
  if not drop('abandoned-by:' .. given.client) then return done('share') end
end

-- The first write is one that a store without room refuses, so nothing is started there.
redis.call('HINCRBY', P .. 'started', given.client, 1)
if whole then
  redis.call('ZADD', P .. 'quota', number(whole), given.client)
  redis.call('ZREMRANGEBYSCORE', P .. 'quota', '-inf', NOW)
end
if given.limit > 0 then
  redis.call('HSET', P .. 'limits', given.model, given.limit)
else
  redis.call('HDEL', P .. 'limits', given.model)
end
redis.call('HINCRBY', P .. 'meta', 'bytes', #uri)
local run = {
  id = id, uri = uri, model = given.model, queue = given.queue, client = given.client,
  urgency = tostring(given.urgency), trace = given.trace, tenant = given.tenant,
  created = NOW, state = 'queued', attempt = '0', crashes = '0', losses = '0', delay = '0', started = '',
  progress = '', message = '', order = tostring(meta('orders')), shares = cjson.encode({ given.client }),
  charged = given.client, abandoned = '', cancelled = '', delivered = '', worker = '', stands = '',
}
run.submitted = run.order
redis.call('ZADD', P .. 'runs', run.order, id)
watch(id, given.patience)
enqueue(run)
save(run, 'offer')
return done('started', told(run))
