-- What the scripts that write a connection share. A row is
--   revision (24 bytes) | when due | concern (9 bytes each: a term, or zeros) | facts, behind their length | columns | body
-- and its facts, each part behind its length: terms (9 bytes each), mark (4 bytes) and e-mail, id of the sealing key.
-- KEYS: row, hot facts, lists, search, sealing keys, history, due.

local NO_TERM = '\0\0\0\0\0\0\0\0\0'

-- Puts a term in the place of another one.
local function replace(key, old, new, id)
    if old == new then return end
    if old ~= NO_TERM then redis.call('ZREM', key, old .. id) end
    if new ~= NO_TERM then redis.call('ZADD', key, '0', new .. id) end
end

-- What every refresh changes: when the row is due, and whether it needs somebody's eyes, from `old` row to `new` row.
local function follow(old, new, id)
    replace(KEYS[7], string.sub(old, 25, 33), string.sub(new, 25, 33), id)
    replace(KEYS[3], string.sub(old, 34, 42), string.sub(new, 34, 42), id)
end

local function record(id, revision)
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', '100000', '1-*', 'i', id, 'r', revision)
end
