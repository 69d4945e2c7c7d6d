-- KEYS: due. ARGV: how many; then behind which time and id, or nothing. Answers ids, each with its time, in order.
local from = 0
if ARGV[2] then
    local time, id = ARGV[2], ARGV[3]
    from = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. time)
    -- Those of one time stand in the order of their ids.
    local to = from + redis.call('ZCOUNT', KEYS[1], time, time)
    while from < to do
        local middle = math.floor((from + to) / 2)
        if above(redis.call('ZRANGE', KEYS[1], middle, middle)[1], id) then to = middle else from = middle + 1 end
    end
end
return redis.call('ZRANGE', KEYS[1], from, from + ARGV[1] - 1, 'WITHSCORES')
