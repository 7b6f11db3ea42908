-- Hand over an outcome. Arguments: 3 the id, 4 the attempt, 5 its kind, then the other fields and values of the entry.
-- An outcome is welcome whatever has become of its run; that of the current attempt needs no lease any more.

local id, attempt = ARGV[3], ARGV[4]
local entry = redis.call('XADD', P .. 'results', '*', 'id', id, 'attempt', attempt, 'kind', ARGV[5],
  unpack(ARGV, 6))
local run = load(id)
if run and run.state == 'running' and run.attempt == attempt then
  run.delivered, run.outcome, run.finished = '1', ARGV[5], NOW
  redis.call('ZREM', P .. 'leases', id)
  save(run, 'deliver')
end
return done(entry)
