-- How many results these are, and the bytes of all. Arguments: 3 and so on, ids of results and keys of variants.

local results, bytes = 0, 0
for i = 3, #ARGV do
  local size = redis.call('HGET', P .. 'result:' .. ARGV[i], 'size')
  if size then
    bytes = bytes + tonumber(size)
    if not string.find(ARGV[i], '.', 1, true) then results = results + 1 end
  end
end
return { results, bytes }
