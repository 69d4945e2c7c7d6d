-- Ids that have all terms, descending, below a cursor.
-- KEYS: lists, search. ARGV: cursor or empty; how many; candidates to look at; the begin of a piece or empty; then the
-- terms, each behind the number of its key. Answers whether there may be more, where to go on, and the ids.
--
-- The rarest term leads, and whether its rows have the others is one look-up each. The begin of a piece stands for all
-- pieces that begin so; where it leads, their rows are merged.
local cursor, want, budget, begin = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local LAST = '\127'
local terms = {}
-- One that is alone leads anyway.
local alone = #ARGV == 5 and begin == ''
for i = 5, #ARGV do
    local key, term = KEYS[tonumber(string.sub(ARGV[i], 1, 1))], string.sub(ARGV[i], 2)
    local rows = alone and 1 or redis.call('ZLEXCOUNT', key, '[' .. term, '[' .. term .. LAST)
    if rows == 0 then return {0, ''} end
    terms[#terms + 1] = {key = key, term = term, rows = rows}
end
table.sort(terms, function(a, b) return a.rows < b.rows end)

local first = 2
local ids, looked = {}, 0
local function look(id)
    looked = looked + 1
    for i = first, #terms do
        if not redis.call('ZSCORE', terms[i].key, terms[i].term .. id) then return end
    end
    ids[#ids + 1] = id
end
local function below(key, term, id, limit)
    local from = id == '' and '[' .. term .. LAST or '(' .. term .. id
    return redis.call('ZREVRANGEBYLEX', key, from, '[' .. term, 'LIMIT', 0, limit)
end

local lead = terms[1]
if begin ~= '' then
    local last = '[' .. begin .. '\255'
    local rows = redis.call('ZLEXCOUNT', KEYS[2], '[' .. begin, last)
    if rows == 0 then return {0, ''} end
    if not lead or rows < lead.rows then
        first = 1
        local heads = {}
        local function push(piece)
            local member = below(KEYS[2], piece, cursor, 1)[1]
            if member then heads[#heads + 1] = {piece = piece, id = string.sub(member, 8)} end
        end
        local from = '[' .. begin
        while true do
            local member = redis.call('ZRANGEBYLEX', KEYS[2], from, last, 'LIMIT', 0, 1)[1]
            if not member then break end
            local piece = string.sub(member, 1, 7)
            push(piece)
            from = '[' .. piece .. LAST
        end
        while #heads > 0 do
            -- To find the highest of twenty takes about as long as a look-up.
            looked = looked + #heads / 20
            local highest = heads[1].id
            for i = 2, #heads do if above(heads[i].id, highest) then highest = heads[i].id end end
            look(highest)
            if #ids == want or looked >= budget then return {1, highest, unpack(ids)} end
            for i = #heads, 1, -1 do
                if heads[i].id == highest then
                    local member = below(KEYS[2], heads[i].piece, highest, 1)[1]
                    if member then heads[i].id = string.sub(member, 8) else table.remove(heads, i) end
                end
            end
        end
        return {0, '', unpack(ids)}
    end
end

local step = #terms == 1 and want or 100
while true do
    local members = below(lead.key, lead.term, cursor, step)
    for _, member in ipairs(members) do
        cursor = string.sub(member, #lead.term + 1)
        look(cursor)
        if #ids == want or looked >= budget then return {1, cursor, unpack(ids)} end
    end
    if #members < step then return {0, '', unpack(ids)} end
end
