-- What the scripts that write a connection share. A row is
--   revision (24 bytes) | when due, as a term, or zeros (9 bytes) | facts, behind their length | columns | body
-- and its facts, each part behind its length: terms (9 bytes each), mark (4 bytes) and e-mail, id of the sealing key.
-- KEYS: row, hot facts, lists, search, sealing keys, history, due.

local NEVER = '\0\0\0\0\0\0\0\0\0'

-- When the row is due, from `old` to `new`.
local function postpone(old, new, id)
    if old == new then return end
    if old ~= NEVER then redis.call('ZREM', KEYS[7], old .. id) end
    if new ~= NEVER then redis.call('ZADD', KEYS[7], '0', new .. id) end
end

local function record(id, revision)
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', '100000', '1-*', 'i', id, 'r', revision)
end
