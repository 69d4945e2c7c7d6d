-- KEYS: expiries, rows. ARGV: now, the key of each row. Answers how many were there.
local purged = 0
for i = 2, #KEYS do
    local present = redis.call('GET', KEYS[i])
    if not present then
        redis.call('ZREM', KEYS[1], ARGV[i])
    elseif struct.unpack('>i8', present, 33) <= tonumber(ARGV[1]) then
        redis.call('DEL', KEYS[i])
        redis.call('ZREM', KEYS[1], ARGV[i])
        purged = purged + 1
    end
end
return purged
