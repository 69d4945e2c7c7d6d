-- ARGV: id, row, expected revision, channel, length of the history. Answers 1 (swapped), 0 (another revision) or -1 (no such row).
--
-- A refresh changes nothing that lists and search know, only the body and when the row is due: that is done here, without a
-- function being made or anything behind the facts being read. Whatever changes more goes on in swap_facts.lua.
local row = ARGV[2]
local facts = 48 + struct.unpack('>I4', row, 45)
local present = redis.call('GETRANGE', KEYS[1], '0', facts - 1)
if present == '' then return -1 end
local revision, own = string.sub(present, 1, 24), string.sub(row, 1, 24)
-- This very write, sent a second time.
if revision == own then return 1 end
if revision ~= ARGV[3] then return 0 end
if string.sub(present, 45) == string.sub(row, 45, facts) then
    redis.call('SET', KEYS[1], row)
    local was, due = string.sub(present, 25, 44), string.sub(row, 25, 44)
    if string.byte(due) == 0 then
        if was ~= due then redis.call('ZREM', KEYS[7], ARGV[1]) end
    elseif was ~= due then
        redis.call('ZADD', KEYS[7], due, ARGV[1])
    end
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[5], '1-*', 'i', ARGV[1], 'r', own)
    return 1
end
