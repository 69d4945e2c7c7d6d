-- KEYS: the store's record of itself. ARGV: a format and the one that follows it. Any other format stays.
if redis.call('HGET', KEYS[1], 'format') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'format', ARGV[2])
end
return 1
