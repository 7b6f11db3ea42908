-- Keep what an attempt has printed. Arguments: 3 the id, 4 the milliseconds that it is kept, then fields and values.

redis.call('HSET', P .. 'printed:' .. ARGV[3], unpack(ARGV, 5))
redis.call('PEXPIRE', P .. 'printed:' .. ARGV[3], ARGV[4])
