-- Apply an event of the life cycle. Arguments: 3 the id, 4 the event, 5 the attempt that it is of, or empty.

local id, event, attempt = ARGV[3], ARGV[4], ARGV[5]
local run = load(id)
if not run or (attempt ~= '' and attempt ~= run.attempt) then return done('none') end
if event == 'succeed' or event == 'fail' or event == 'cancel' then
  local states = { succeed = 'succeeded', fail = 'failed', cancel = 'cancelled' }
  stop(run, states[event], event)
  return done('ok', states[event])
end
if run.state ~= 'running' then return done('invalid', run.state) end
return done('ok', interrupted(run, event))
