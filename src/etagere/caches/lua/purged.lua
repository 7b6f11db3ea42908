-- Let nodes know that something was purged. Arguments: 3 a JSON object of `model` and `before`, 4 how many are told of.

redis.call('LPUSH', P .. 'purges', ARGV[3])
redis.call('LTRIM', P .. 'purges', 0, ARGV[4] - 1)
return redis.call('HINCRBY', P .. 'meta', 'purges', 1)
