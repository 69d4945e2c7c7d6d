-- KEYS: rows, ids in order, version. ARGV: channel, what, id, and
--   insert: row, slug or empty. 1 created, 0 id or slug taken
--   swap: row, expected revision. 1 swapped, 0 another revision, -1 missing
--   remove: expected revision. 1 gone, 0 another revision, -1 missing
-- Among the rows 'ID=' has the slug of an id, and '=SLUG' the id of a slug; neither has a '=' itself.
local what, id = ARGV[2], ARGV[3]
local rows = KEYS[1]
local present = redis.call('HGET', rows, id)
local revision = present and string.sub(present, 1, 24)
local own = what ~= 'remove' and string.sub(ARGV[4], 1, 24)
-- This very write, sent a second time.
if own and revision == own then return 1 end
local function free(id)
    local slug = redis.call('HGET', rows, id .. '=')
    if not slug then return end
    redis.call('HDEL', rows, id .. '=')
    if redis.call('HGET', rows, '=' .. slug) == id then redis.call('HDEL', rows, '=' .. slug) end
end
if what == 'insert' then
    if present then return 0 end
    local slug = ARGV[5]
    local holder = slug ~= '' and redis.call('HGET', rows, '=' .. slug)
    if holder and redis.call('HEXISTS', rows, holder) == 1 then return 0 end
    -- A release that knows no slugs leaves that of a row that it removes.
    if holder then free(holder) end
    free(id)
    redis.call('ZADD', KEYS[2], 0, id)
    if slug ~= '' then redis.call('HSET', rows, '=' .. slug, id, id .. '=', slug) end
else
    if not present then return -1 end
    if revision ~= ARGV[what == 'swap' and 5 or 4] then return 0 end
end
if what == 'remove' then
    redis.call('HDEL', rows, id)
    redis.call('ZREM', KEYS[2], id)
    free(id)
else
    redis.call('HSET', rows, id, ARGV[4])
end
redis.call('INCR', KEYS[3])
-- Whoever may not publish is not heard at once.
redis.pcall('PUBLISH', ARGV[1], '')
return 1
