-- ARGV: id, row, length of the history. Answers 1 (created) or 0 (the id is taken).
local new, own = parse(ARGV[2]), string.sub(ARGV[2], 1, 24)
local present = redis.call('GET', KEYS[1])
if present then
    -- This very write, sent a second time.
    if string.sub(present, 1, 24) == own then return 1 end
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
-- There from the begin, so that a reader finds both keys on one node also while their slot moves to another.
redis.call('SET', KEYS[2], '||')
index(NONE, new, ARGV[1])
record(ARGV[1], own, ARGV[3])
return 1
