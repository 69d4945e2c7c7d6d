-- KEYS: history, its counter. ARGV: from which number, how many. Answers the last number, and the entries.
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
return {last, redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])}
