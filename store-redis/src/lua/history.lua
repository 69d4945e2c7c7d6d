-- KEYS: history. ARGV: behind how many entries, how many. Answers the number of the last entry, and those entries.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then return {0, {}} end
local number = tonumber(string.match(last[1], '^1%-(%d+)$')) + 1
return {number, redis.call('XRANGE', KEYS[1], '1-' .. ARGV[1], '+', 'COUNT', ARGV[2])}
