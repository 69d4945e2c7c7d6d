-- KEYS: the store's record of itself. ARGV: format, buckets, whether it must be there. Answers what stands there.
if ARGV[3] == '1' and redis.call('HLEN', KEYS[1]) == 0 then return false end
redis.call('HSETNX', KEYS[1], 'format', ARGV[1])
redis.call('HSETNX', KEYS[1], 'buckets', ARGV[2])
return redis.call('HMGET', KEYS[1], 'format', 'buckets')
