-- KEYS: months, the days of each month to forget. ARGV: the name of each.
for i = 2, #KEYS do
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', KEYS[1], ARGV[i - 1])
end
return 1
