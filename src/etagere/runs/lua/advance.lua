-- Apply an event of the life cycle. Arguments: 3 the id, 4 the event, 5 the attempt that it is of, or empty; 6 the worker
-- whose attempt it is, or empty: a store that was emptied counts attempts anew.

local id, event, attempt, worker = ARGV[3], ARGV[4], ARGV[5], ARGV[6] or ''
local run = load(id)
if not run then return done('none') end
if attempt ~= '' and (attempt ~= run.attempt or (worker ~= '' and worker ~= run.worker)) then return done('none') end
room_or_not()
local ends = { succeed = 'succeeded', fail = 'failed', cancel = 'cancelled' }
if ends[event] then
  stop(run, ends[event], event)
  return done('ok', ends[event])
end
-- Of an attempt that was lost meanwhile nothing is to be said any more.
if run.state ~= 'running' then return done(attempt ~= '' and 'none' or 'invalid', run.state) end
return done('ok', interrupted(run, event))
