-- A pending run. Argument: 3 the id.

local run = load(ARGV[3])
if not run then return false end
return told(run)
