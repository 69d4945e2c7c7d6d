-- What a row is, and what is written of it elsewhere: for the scripts that write a connection.
--
-- A row is
--   revision (24 bytes) | when due (20 digits, or zero bytes) | facts, behind their length | columns | body
-- and its facts, each part behind its length: terms (9 bytes each), mark (4 bytes) and e-mail, id of the sealing key.
-- KEYS: row, hot facts, lists, search, sealing keys, history, due.

local TERM = 9
local NEVER = string.rep('\0', 20)
local NONE = {due = NEVER, terms = '', mail = ''}

local function parse(row)
    local terms, mail, sealed, at
    terms, at = struct.unpack('>I4c0', row, 49)
    mail, at = struct.unpack('>I4c0', row, at)
    sealed = struct.unpack('>I4c0', row, at)
    return {due = string.sub(row, 25, 44), terms = terms, mail = mail, sealed = sealed}
end

-- Pieces of three bytes behind the mark; the last two are filled up, so that every byte begins one.
local function pieces(mail)
    local mark, filled = string.sub(mail, 1, 4), string.sub(mail, 5) .. '\0\0'
    local found = {}
    for i = 1, #filled - 2 do found[i] = mark .. string.sub(filled, i, i + 2) end
    return found
end

local function split(terms)
    local found = {}
    for i = 1, #terms, TERM do found[#found + 1] = string.sub(terms, i, i + TERM - 1) end
    return found
end

-- Brings a sorted set from the members of `old` to those of `new`, not more than a thousand at once.
local function move(key, old, new, id)
    local gone, added = {}, {}
    for _, term in ipairs(old) do gone[term] = true end
    local seen = {}
    for _, term in ipairs(new) do
        if gone[term] then
            gone[term] = nil
        elseif not seen[term] then
            added[#added + 1] = '0'
            added[#added + 1] = term .. id
            if #added == 2000 then redis.call('ZADD', key, unpack(added)); added = {} end
        end
        seen[term] = true
    end
    if #added > 0 then redis.call('ZADD', key, unpack(added)) end
    local members = {}
    for term in pairs(gone) do
        members[#members + 1] = term .. id
        if #members == 1000 then redis.call('ZREM', key, unpack(members)); members = {} end
    end
    if #members > 0 then redis.call('ZREM', key, unpack(members)) end
end

local function count(sealed, by)
    if redis.call('HINCRBY', KEYS[5], sealed, by) <= 0 then redis.call('HDEL', KEYS[5], sealed) end
end

-- What lists, search and counts know of a row, from `old` to `new`; what stays is not written.
local function index(old, new, id)
    if new.due == NEVER then
        if old.due ~= NEVER then redis.call('ZREM', KEYS[7], id) end
    elseif old.due ~= new.due then
        redis.call('ZADD', KEYS[7], new.due, id)
    end
    if old.terms ~= new.terms then move(KEYS[3], split(old.terms), split(new.terms), id) end
    if old.mail ~= new.mail then move(KEYS[4], pieces(old.mail), pieces(new.mail), id) end
    if old.sealed ~= new.sealed then
        if old.sealed then count(old.sealed, -1) end
        if new.sealed then count(new.sealed, 1) end
    end
end

local function record(id, revision, length)
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', length, '1-*', 'i', id, 'r', revision)
end

-- Tells the other processes at once that a connection is another one now. Whoever may not publish is not heard at once.
local function tell(channel)
    redis.pcall('PUBLISH', channel, '')
end

-- Of the terms the third is that of the status.
local function status(terms)
    return string.sub(terms, 2 * TERM + 1, 3 * TERM)
end
