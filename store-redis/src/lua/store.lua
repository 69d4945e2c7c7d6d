-- KEYS: the store's record of itself. ARGV: format, buckets. Answers what stands there.
redis.call('HSETNX', KEYS[1], 'format', ARGV[1])
redis.call('HSETNX', KEYS[1], 'buckets', ARGV[2])
return redis.call('HMGET', KEYS[1], 'format', 'buckets')
