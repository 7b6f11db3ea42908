-- The best eligible run, after what was lost has been found. Arguments: 3 a JSON object with `queues`, `models` (the
-- names@versions that the worker has, or false for any), `lease` (seconds) and `worker`.

local given = cjson.decode(ARGV[3])
local lease = given.lease

room_or_not()
local known
if given.models then
  known = {}
  for _, model in ipairs(given.models) do known[model] = true end
end

local function give_up(run)
  redis.call('ZREM', P .. 'leases', run.id)
  redis.call('XADD', P .. 'results', '*', 'id', run.id, 'uri', run.uri, 'model', run.model, 'queue', run.queue,
    'attempt', run.attempt, 'kind', 'poison', 'started', run.started ~= '' and run.started or NOW, 'finished', NOW,
    'crashes', run.crashes, 'losses', run.losses)
  run.delivered, run.outcome, run.finished = '1', 'poison', NOW
  save(run, 'deliver')
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', number(MOMENT), 'LIMIT', 0, AT_ONCE)) do
  local run = load(id)
  if not run then
    redis.call('ZREM', P .. 'leases', id)
  elseif interrupted(run, 'lose') == 'failed' then
    give_up(run)
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'delayed', '-inf', number(MOMENT), 'LIMIT', 0, AT_ONCE)) do
  redis.call('ZREM', P .. 'delayed', id)
  local run = load(id)
  if run then
    enqueue(run)
    save(run, 'queue')
  end
end
if redis.call('HGET', P .. 'meta', 'draining') == '1' then return done() end

local function free(model)
  local limit = redis.call('HGET', P .. 'limits', model)
  return not limit or tonumber(redis.call('HGET', P .. 'held', model) or 0) < tonumber(limit)
end

local places = {}
for _, queue in ipairs(given.queues) do
  for _, model in ipairs(redis.call('HKEYS', P .. 'waiting:' .. queue)) do
    if (not known or known[model]) and free(model) then places[#places + 1] = model .. '|' .. queue end
  end
end

local function first(keys)
  local best, score
  for where, key in pairs(keys) do
    local front = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if front[1] and (not score or tonumber(front[2]) < score) then best, score = front[1], tonumber(front[2]) end
  end
  return best
end

local turns, abandoned = {}, {}
for _, where in ipairs(places) do
  turns[where] = P .. 'turns:' .. where
  abandoned[where] = P .. 'abandoned:' .. where
end
local client = first(turns)
local id
if client then
  local lines = {}
  for _, where in ipairs(places) do lines[where] = P .. 'line:' .. where .. '|' .. client end
  id = first(lines)
else
  id = first(abandoned)
end
if not id then return done() end

local run = load(id)
withdraw(run)
run.charged = client or run.client
run.state, run.attempt, run.started = 'running', tostring(tonumber(run.attempt) + 1), NOW
run.progress, run.message, run.delay, run.delivered, run.worker = '', '', '0', '', given.worker
hold(run, lease)
save(run, 'claim')
local uri = run.uri
return done(id, uri, told(run))
