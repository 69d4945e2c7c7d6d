-- KEYS: rows, ids in order. ARGV: above which id or empty, how many. Answers id, row and slug or empty in turn.
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, ARGV[2])) do
    local row = redis.call('HMGET', KEYS[1], id, id .. '=')
    found[#found + 1] = id
    found[#found + 1] = row[1]
    found[#found + 1] = row[2] or ''
end
return found
