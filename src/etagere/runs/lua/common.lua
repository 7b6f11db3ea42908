-- What every script begins with: the time, a run and where it stands, shares, and what is published.
-- docs/protocol.md says what the keys hold. A run is a table of strings, as its hash has it.

local P = KEYS[1]

local function server_time()
  local time = redis.call('TIME')
  return string.format('%d.%06d', time[1], time[2])
end

-- The wall clock for dates, and one for leases and delays; a caller may set them, for tests.
local NOW = ARGV[1] ~= '' and ARGV[1] or server_time()
local MOMENT = tonumber(ARGV[2] ~= '' and ARGV[2] or NOW)

local CRASHES_ALLOWED, LOSSES_ALLOWED = 3, 10
local LONGEST_DELAY, POSTPONED = 60, 2
local URGENCY, ORDER = 1e13, 1e10
local AT_ONCE, GRACE = 50, 10

local events, since = {}, {}

local function meta(field)
  return redis.call('HINCRBY', P .. 'meta', field, 1)
end

-- A store without room refuses what begins with a write that may take some. What keeps runs alive and ends them does not
-- begin so, and what starts them does.
local function room_or_not()
  redis.call('ZREM', P .. 'leases', '')
end

local function number(text)
  return string.format('%.6f', text)
end

local function load(id)
  local flat = redis.call('HGETALL', P .. 'run:' .. id)
  if #flat == 0 then return nil end
  local run = {}
  for i = 1, #flat, 2 do run[flat[i]] = flat[i + 1] end
  return run
end

local function place(run)
  return run.model .. '|' .. run.queue
end

-- Shares: whose turn it is.

local function count(what, client, by)
  local key = P .. 'share:' .. what
  local left = redis.call('HINCRBY', key, client, by)
  if left <= 0 then redis.call('HDEL', key, client) end
  return left
end

local function moment_of(client)
  since[client] = meta('moments')
  redis.call('HSET', P .. 'share:since', client, since[client])
end

local function turn(client)
  local running = tonumber(redis.call('HGET', P .. 'share:running', client) or 0)
  return running * ORDER + tonumber(redis.call('HGET', P .. 'share:since', client) or 0)
end

local function tidy(client)
  if redis.call('HEXISTS', P .. 'share:running', client) + redis.call('HEXISTS', P .. 'share:waiting', client) == 0 then
    redis.call('HDEL', P .. 'share:since', client)
    since[client] = 0
  end
end

local function turn_changed(client)
  local now = turn(client)
  for _, where in ipairs(redis.call('HKEYS', P .. 'places:' .. client)) do
    redis.call('ZADD', P .. 'turns:' .. where, now, client)
  end
end

local function begin(client)
  count('running', client, 1)
  moment_of(client)
  turn_changed(client)
end

local function over(client)
  count('running', client, -1)
  moment_of(client)
  turn_changed(client)
  tidy(client)
end

local function score(run)
  return tonumber(run.urgency) * URGENCY + tonumber(run.order)
end

local function stand(run, client)
  local where = place(run)
  if redis.call('ZADD', P .. 'line:' .. where .. '|' .. client, score(run), run.id) == 0 then return end
  if count('waiting', client, 1) == 1 then moment_of(client) end
  if redis.call('HINCRBY', P .. 'places:' .. client, where, 1) == 1 then
    redis.call('ZADD', P .. 'turns:' .. where, turn(client), client)
  end
end

local function unstand(run, client)
  local where = place(run)
  if redis.call('ZREM', P .. 'line:' .. where .. '|' .. client, run.id) == 0 then return end
  count('waiting', client, -1)
  if redis.call('HINCRBY', P .. 'places:' .. client, where, -1) <= 0 then
    redis.call('HDEL', P .. 'places:' .. client, where)
    redis.call('ZREM', P .. 'turns:' .. where, client)
  end
  tidy(client)
end

-- Where a run stands: in line, abandoned, delayed, or held by a worker.

local function in_line(run, by)
  local key = P .. 'waiting:' .. run.queue
  if redis.call('HINCRBY', key, run.model, by) <= 0 then redis.call('HDEL', key, run.model) end
end

local function enqueue(run)
  in_line(run, 1)
  if run.abandoned == '1' then
    run.stands = 'abandoned'
    redis.call('ZADD', P .. 'abandoned', run.order, run.id)
    redis.call('ZADD', P .. 'abandoned:' .. place(run), run.order, run.id)
    redis.call('ZADD', P .. 'abandoned-by:' .. run.client, run.order, run.id)
    return
  end
  run.stands = 'line'
  for _, client in ipairs(cjson.decode(run.shares)) do stand(run, client) end
end

local function withdraw(run)
  if run.stands == 'line' then
    for _, client in ipairs(cjson.decode(run.shares)) do unstand(run, client) end
    in_line(run, -1)
  elseif run.stands == 'abandoned' then
    redis.call('ZREM', P .. 'abandoned', run.id)
    redis.call('ZREM', P .. 'abandoned:' .. place(run), run.id)
    redis.call('ZREM', P .. 'abandoned-by:' .. run.client, run.id)
    in_line(run, -1)
  elseif run.stands == 'delayed' then
    redis.call('ZREM', P .. 'delayed', run.id)
  elseif run.stands == 'held' then
    redis.call('ZREM', P .. 'leases', run.id)
    if redis.call('HINCRBY', P .. 'held', run.model, -1) <= 0 then redis.call('HDEL', P .. 'held', run.model) end
    over(run.charged)
  end
  run.stands = ''
end

local function hold(run, lease)
  run.stands = 'held'
  redis.call('ZADD', P .. 'leases', number(MOMENT + lease), run.id)
  redis.call('HINCRBY', P .. 'held', run.model, 1)
  begin(run.charged)
end

-- What is recorded is published, too: numbered, so that who listens knows that nothing is missing.

local function emit(run, event)
  run.seq = tostring(meta('seq'))
  local said = { seq = tonumber(run.seq), event = event, id = run.id, run = run }
  if next(since) ~= nil then
    said.since = since
    since = {}
  end
  local uri = run.uri
  run.uri = nil
  table.insert(events, cjson.encode(said))
  run.uri = uri
end

local function save(run, event)
  emit(run, event)
  local flat = {}
  for field, value in pairs(run) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', P .. 'run:' .. run.id, unpack(flat))
end

local function forget(run, event)
  redis.call('DEL', P .. 'run:' .. run.id)
  redis.call('ZREM', P .. 'runs', run.id)
  redis.call('ZREM', P .. 'patience', run.id)
  redis.call('HINCRBY', P .. 'meta', 'bytes', -#run.uri)
  if redis.call('HINCRBY', P .. 'started', run.client, -1) <= 0 then redis.call('HDEL', P .. 'started', run.client) end
  emit(run, event)
end

local function done(...)
  if #events > 0 then redis.call('PUBLISH', P .. 'events', '[' .. table.concat(events, ',') .. ']') end
  return { events, ... }
end

-- A run as it is answered with: without its URI, and with the epoch that its number is of.
local function told(run)
  run.uri, run.epoch = nil, redis.call('HGET', P .. 'meta', 'epoch') or ''
  return cjson.encode(run)
end

local function watch(id, seconds)
  local until_ = MOMENT + seconds
  local before = tonumber(redis.call('ZSCORE', P .. 'patience', id) or 0)
  redis.call('ZADD', P .. 'patience', number(math.max(before, until_)), id)
end

-- The life of a run; see core/lifecycle.py.

local function stop(run, state, event)
  withdraw(run)
  run.state = state
  forget(run, event)
end

local function back(run, event, delay)
  withdraw(run)
  run.state, run.started, run.progress, run.message = 'queued', '', '', ''
  run.delay = number(delay)
  if delay > 0 then
    run.stands = 'delayed'
    redis.call('ZADD', P .. 'delayed', number(MOMENT + delay), run.id)
  else
    enqueue(run)
  end
  save(run, event)
end

local function used_up(run)
  return tonumber(run.crashes) >= CRASHES_ALLOWED or tonumber(run.losses) >= LOSSES_ALLOWED
end

-- A running run is queued again, or has used up its attempts: then it stays held until its outcome ends it, which claims
-- see to where nobody has handed one over in GRACE seconds.
local function interrupted(run, event)
  if run.cancelled == '1' then
    stop(run, 'cancelled', 'cancel')
    return 'cancelled'
  end
  local delay, known = 0, used_up(run)
  if event == 'crash' and not known then run.crashes = tostring(tonumber(run.crashes) + 1) end
  if event == 'lose' then
    if not known then run.losses = tostring(tonumber(run.losses) + 1) end
    delay = math.min(LONGEST_DELAY, 0.25 * 2 ^ tonumber(run.losses))
  end
  if event == 'postpone' then delay = POSTPONED end
  if used_up(run) then
    redis.call('ZADD', P .. 'leases', number(MOMENT + GRACE), run.id)
    run.delivered = ''
    save(run, event)
    return 'failed'
  end
  back(run, event, delay)
  return 'queued'
end
