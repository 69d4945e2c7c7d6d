-- KEYS: rows, names in order of integration and id. A row begins with kind (1 byte), and when it was created, ends and
-- was revoked (8 bytes each; the least number is never). ARGV: what, id, and
--   insert: row, integration, most live keys, now. 1 stored, 0 too many, -1 taken
--   revoke: time. 1 revoked, 0 was revoked before, -1 missing
local what, id = ARGV[1], ARGV[2]
local NEVER = -9223372036854775808
local present = redis.call('HGET', KEYS[1], id)
if what == 'revoke' then
    if not present then return -1 end
    if struct.unpack('>i8', present, 18) ~= NEVER then return 0 end
    redis.call('HSET', KEYS[1], id, string.sub(present, 1, 17) .. ARGV[3] .. string.sub(present, 26))
    return 1
end
if present then return -1 end
local row, of, most, now = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local live = 0
for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], '[' .. of .. ':', '(' .. of .. ';')) do
    local other = redis.call('HGET', KEYS[1], string.sub(name, #of + 2))
    if other and string.sub(other, 1, 1) == string.sub(row, 1, 1) then
        local ends, revoked = struct.unpack('>i8i8', other, 10)
        if revoked == NEVER and (ends == NEVER or ends > now) then live = live + 1 end
    end
end
if live >= most then return 0 end
redis.call('HSET', KEYS[1], id, row)
redis.call('ZADD', KEYS[2], 0, of .. ':' .. id)
return 1
