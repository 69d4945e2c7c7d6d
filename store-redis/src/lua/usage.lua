-- KEYS: the month's days and their sum, months. ARGV: what, day, amount, and
--   charge: limit, month, the month's name. Answers whether it was counted, and the sum
--   refund: takes back, never below zero
local what, day, amount = ARGV[1], ARGV[2], tonumber(ARGV[3])
local sum = tonumber(redis.call('HGET', KEYS[1], 'sum') or '0')
if what == 'refund' then
    local back = math.min(amount, tonumber(redis.call('HGET', KEYS[1], day) or '0'))
    if back > 0 then
        redis.call('HINCRBY', KEYS[1], day, string.format('-%.0f', back))
        redis.call('HINCRBY', KEYS[1], 'sum', string.format('-%.0f', back))
    end
    return 1
end
if sum + amount > tonumber(ARGV[4]) then return {0, sum} end
if amount > 0 then
    redis.call('HINCRBY', KEYS[1], day, ARGV[3])
    redis.call('HINCRBY', KEYS[1], 'sum', ARGV[3])
    redis.call('ZADD', KEYS[2], ARGV[5], ARGV[6])
end
return {1, sum + amount}
