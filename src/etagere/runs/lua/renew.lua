-- Renew the leases of attempts. Arguments: 3 seconds; 4 a JSON array of [id, attempt, progress or '', message]; 5 a
-- JSON object of the models that are not computed for nobody; 6 the worker. Answers: ok, unwanted, lost.

room_or_not()
local lease, needless = tonumber(ARGV[3]), cjson.decode(ARGV[5])
local answers = {}
for i, given in ipairs(cjson.decode(ARGV[4])) do
  local id, attempt, progress, message = given[1], given[2], given[3], given[4]
  local run = load(id)
  if not run or run.state ~= 'running' or run.attempt ~= tostring(attempt) or run.worker ~= ARGV[6] then
    answers[i] = 'lost'
  else
    if run.delivered ~= '1' then redis.call('ZADD', P .. 'leases', number(MOMENT + lease), id) end
    local fraction = tonumber(progress)
    if fraction and fraction >= 0 and fraction <= 1 and (progress ~= run.progress or message ~= run.message) then
      run.progress, run.message = progress, message
      save(run, 'progress')
    end
    local unwanted = run.cancelled == '1' or (run.abandoned == '1' and needless[run.model])
    answers[i] = unwanted and 'unwanted' or 'ok'
  end
end
return done(answers)
