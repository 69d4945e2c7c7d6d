-- KEYS: rows, ids in order, version. ARGV: channel, what, id, and
--   insert: row. 1 created, 0 taken
--   swap: row, expected revision. 1 swapped, 0 another revision, -1 missing
--   remove: expected revision. 1 gone, 0 another revision, -1 missing
local what, id = ARGV[2], ARGV[3]
local present = redis.call('HGET', KEYS[1], id)
local revision = present and string.sub(present, 1, 24)
local own = what ~= 'remove' and string.sub(ARGV[4], 1, 24)
-- This very write, sent a second time.
if own and revision == own then return 1 end
if what == 'insert' then
    if present then return 0 end
    redis.call('ZADD', KEYS[2], 0, id)
else
    if not present then return -1 end
    if revision ~= ARGV[what == 'swap' and 5 or 4] then return 0 end
end
if what == 'remove' then
    redis.call('HDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
else
    redis.call('HSET', KEYS[1], id, ARGV[4])
end
redis.call('INCR', KEYS[3])
-- Whoever may not publish is not heard at once.
redis.pcall('PUBLISH', ARGV[1], '')
return 1
