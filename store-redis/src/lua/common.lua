-- What the scripts that write a connection share. A row is, each part but the first and the last behind its length:
--   revision (24 bytes) | terms (9 bytes each) | mark (4 bytes) and e-mail | id of the sealing key | columns | body
-- KEYS: row, hot facts, lists, search, sealing keys, history, its counter.

local NONE = {terms = {}, mark = '', email = '', sealed = false}

local function parse(row)
    local at = 25
    local terms, mail, sealed
    terms, at = struct.unpack('>I4c0', row, at)
    mail, at = struct.unpack('>I4c0', row, at)
    sealed, at = struct.unpack('>I4c0', row, at)
    local set = {}
    for i = 1, #terms, 9 do set[string.sub(terms, i, i + 8)] = true end
    return {terms = set, mark = string.sub(mail, 1, 4), email = string.sub(mail, 5), sealed = sealed}
end

-- Pieces of three bytes; the last two are filled up, so that every byte begins one.
local function pieces(entry)
    local set = {}
    local filled = entry.email .. '\0\0'
    for i = 1, #entry.email do set[entry.mark .. string.sub(filled, i, i + 2)] = true end
    return set
end

-- Brings a sorted set from the members of `old` to those of `new`.
local function move(key, old, new, id)
    local gone, added = {}, {}
    local function flush(least)
        if #gone > least then redis.call('ZREM', key, unpack(gone)); gone = {} end
        if #added > least then redis.call('ZADD', key, unpack(added)); added = {} end
    end
    for term in pairs(old) do
        if not new[term] then gone[#gone + 1] = term .. id; flush(1000) end
    end
    for term in pairs(new) do
        if not old[term] then
            added[#added + 1] = 0
            added[#added + 1] = term .. id
            flush(1000)
        end
    end
    flush(0)
end

local function count(sealed, by)
    if redis.call('HINCRBY', KEYS[5], sealed, by) <= 0 then redis.call('HDEL', KEYS[5], sealed) end
end

-- What lists, search and counts know of a row, from `old` to `new`; what stays is not written.
local function index(old, new, id)
    move(KEYS[3], old.terms, new.terms, id)
    if old.mark ~= new.mark or old.email ~= new.email then
        move(KEYS[4], pieces(old), pieces(new), id)
    end
    if old.sealed ~= new.sealed then
        if old.sealed then count(old.sealed, -1) end
        if new.sealed then count(new.sealed, 1) end
    end
end

local function record(id, revision)
    local number = redis.call('INCR', KEYS[7])
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', 100000, string.format('%.0f-0', number), 'i', id, 'r', revision)
end
