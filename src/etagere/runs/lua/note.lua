-- Who still asks. Arguments: 3 a JSON object from ids to the seconds in which each is asked for again at the latest; 4
-- a JSON object of the models that are not computed for nobody; 5 how many are looked at.

room_or_not()
local asked, needless, most = cjson.decode(ARGV[3]), cjson.decode(ARGV[4]), tonumber(ARGV[5])

local function turn_to(run, abandoned)
  if run.abandoned == abandoned then return end
  local waits = run.stands == 'line' or run.stands == 'abandoned'
  if waits then
    withdraw(run)
    run.order = tostring(meta('orders'))
  end
  run.abandoned = abandoned
  if waits then enqueue(run) end
  save(run, abandoned == '1' and 'abandon' or 'want')
end

for id, seconds in pairs(asked) do
  local run = load(id)
  if run then
    watch(id, seconds)
    turn_to(run, '')
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'patience', '-inf', number(MOMENT), 'LIMIT', 0, most)) do
  redis.call('ZREM', P .. 'patience', id)
  local run = load(id)
  if run and needless[run.model] and run.state == 'queued' then
    stop(run, 'cancelled', 'drop')
  elseif run then
    turn_to(run, '1')
  end
end
return done()
