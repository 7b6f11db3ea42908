-- Another client asks for a pending run. Arguments: 3 the id, 4 the client, 5 its urgency, 6 how many shares at most.

local run = load(ARGV[3])
if not run then return done() end
local client, urgency, most = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local shares, is_in = cjson.decode(run.shares), false
for _, other in ipairs(shares) do is_in = is_in or other == client end
local joins, hurries = not is_in and #shares < most, urgency < tonumber(run.urgency)
if not joins and not hurries then return done() end
if hurries then
  run.urgency = tostring(urgency)
  -- Whose turn it is depends on no urgency, so it is only moved within the lines where it stands.
  for _, other in ipairs(shares) do
    redis.call('ZADD', P .. 'line:' .. place(run) .. '|' .. other, 'XX', score(run), run.id)
  end
end
if joins then
  shares[#shares + 1] = client
  run.shares = cjson.encode(shares)
  if run.stands == 'line' then stand(run, client) end
end
save(run, 'join')
return done()
