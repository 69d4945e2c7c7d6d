-- ARGV: id, row, expected revision, channel. Answers 1 (swapped), 0 (another revision) or -1 (no such row).
local id, row = ARGV[1], ARGV[2]
local own = string.sub(row, 1, 24)
local facts = 57 + struct.unpack('>I4', row, 54)
-- A refresh changes no facts: then nothing behind them is read, nothing is taken apart, and no more functions are made.
local present = redis.call('GETRANGE', KEYS[1], '0', facts - 1)
if present == '' then return -1 end
local revision = string.sub(present, 1, 24)
-- This very write, sent a second time.
if revision == own then return 1 end
if revision ~= ARGV[3] then return 0 end
if string.sub(present, 54) == string.sub(row, 54, facts) then
    redis.call('SET', KEYS[1], row)
    follow(present, row, id)
    record(id, own)
    return 1
end
