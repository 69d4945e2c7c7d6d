-- ARGV: id, expected revision, revision of the removal, channel, length of the history. Answers 1 (gone), 0 (another
-- revision) or -1 (no such row).
local present = redis.call('GET', KEYS[1])
if not present then return -1 end
if string.sub(present, 1, 24) ~= ARGV[2] then return 0 end
local old = parse(present)
redis.call('DEL', KEYS[1], KEYS[2])
index(old, NONE, ARGV[1])
record(ARGV[1], ARGV[3], ARGV[5])
tell(ARGV[4])
return 1
