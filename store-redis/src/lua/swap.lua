-- ARGV: id, row, expected revision, channel. Answers 1 (swapped), 0 (another revision) or -1 (no such row).
local new, own = parse(ARGV[2]), string.sub(ARGV[2], 1, 24)
local present = redis.call('GET', KEYS[1])
if not present then return -1 end
local revision = string.sub(present, 1, 24)
-- This very write, sent a second time.
if revision == own then return 1 end
if revision ~= ARGV[3] then return 0 end
local old = parse(present)
redis.call('SET', KEYS[1], ARGV[2])
index(old, new, ARGV[1])
record(ARGV[1], own)
if status(old.terms) ~= status(new.terms) then tell(ARGV[4]) end
return 1
