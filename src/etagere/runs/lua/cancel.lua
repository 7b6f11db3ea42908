-- Cancel a run: at once where it is queued, else it is not renewed any more. Argument: 3 the id.

room_or_not()
local run = load(ARGV[3])
if not run then return done('none') end
if run.state == 'queued' then
  stop(run, 'cancelled', 'drop')
  return done('gone')
end
run.cancelled = '1'
save(run, 'unwanted')
return done('stopping')
