-- A row is guard (32 bytes) | when it expires (8 bytes) | body. KEYS: row, expiries. ARGV: what, key, and
--   put: row, when it expires, when it is garbage. 1 stored, 0 taken
--   take: guard, now. 0 missing, 1 for somebody else, or the body in a list
local what, key = ARGV[1], ARGV[2]
local present = redis.call('GET', KEYS[1])
if what == 'put' then
    if present then return 0 end
    local now = redis.call('TIME')
    -- Whether it has expired is never seen by this: it only ends what nobody purges.
    local garbage = math.max(tonumber(now[1]) * 1000, tonumber(ARGV[4])) + tonumber(ARGV[5])
    redis.call('SET', KEYS[1], ARGV[3], 'PXAT', string.format('%.0f', garbage))
    redis.call('ZADD', KEYS[2], ARGV[4], key)
    return 1
end
if not present or struct.unpack('>i8', present, 33) <= tonumber(ARGV[4]) then return 0 end
if string.sub(present, 1, 32) ~= ARGV[3] then return 1 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], key)
return {string.sub(present, 41)}
