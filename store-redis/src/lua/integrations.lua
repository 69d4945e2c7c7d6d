-- KEYS: rows, ids in order. ARGV: above which id or empty, how many. Answers id and row in turn.
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, ARGV[2])) do
    found[#found + 1] = id
    found[#found + 1] = redis.call('HGET', KEYS[1], id)
end
return found
