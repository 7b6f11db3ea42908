-- Apply an event of the life cycle. Arguments: 3 the id, 4 the event, 5 the attempt that it is of, or empty.

local id, event, attempt = ARGV[3], ARGV[4], ARGV[5]
local run = load(id)
if not run or (attempt ~= '' and attempt ~= run.attempt) then return done('none') end
local ends = { succeed = 'succeeded', fail = 'failed', cancel = 'cancelled' }
if ends[event] then
  stop(run, ends[event], event)
  return done('ok', ends[event])
end
-- Of an attempt that was lost meanwhile nothing is to be said any more.
if run.state ~= 'running' then return done(attempt ~= '' and 'none' or 'invalid', run.state) end
return done('ok', interrupted(run, event))
