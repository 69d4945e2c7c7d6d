-- KEYS: rows, names in order of integration and id. ARGV: integration, whether to remove. Answers id and row in turn.
local of = ARGV[1]
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], '[' .. of .. ':', '(' .. of .. ';')) do
    local id = string.sub(name, #of + 2)
    found[#found + 1] = id
    found[#found + 1] = redis.call('HGET', KEYS[1], id)
    if ARGV[2] == '1' then
        redis.call('HDEL', KEYS[1], id)
        redis.call('ZREM', KEYS[2], name)
    end
end
if ARGV[2] == '1' then return {} end
return found
