-- KEYS: the store's record of itself. ARGV: format, buckets, whether it must be there. Answers what stands there.
-- Only one that is not whole is written, so that a store can be opened while its server takes no writes.
local found = redis.call('HMGET', KEYS[1], 'format', 'buckets')
if found[1] and found[2] then return found end
-- A newer format need not have buckets.
if found[1] and found[1] ~= ARGV[1] then return {found[1], ''} end
if ARGV[3] == '1' and not found[1] and not found[2] then return false end
redis.call('HSETNX', KEYS[1], 'format', ARGV[1])
redis.call('HSETNX', KEYS[1], 'buckets', ARGV[2])
return redis.call('HMGET', KEYS[1], 'format', 'buckets')
