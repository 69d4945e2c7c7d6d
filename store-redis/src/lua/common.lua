-- What the scripts that write a connection share. A row is
--   revision (24 bytes) | when due (20 digits, or zero bytes) | concern (a term of 9 bytes, or zero bytes) | facts, behind
--   their length | columns | body
-- and its facts, each part behind its length: terms (9 bytes each), mark (4 bytes) and e-mail, id of the sealing key.
-- KEYS: row, hot facts, lists, search, sealing keys, history, due.

local NEVER = string.rep('\0', 20)
local NO_TERM = string.rep('\0', 9)

-- What every refresh changes: when the row is due, and whether it needs somebody's eyes, from `old` row to `new` row.
local function follow(old, new, id)
    local was, due = string.sub(old, 25, 44), string.sub(new, 25, 44)
    if due == NEVER then
        if was ~= NEVER then redis.call('ZREM', KEYS[7], id) end
    elseif was ~= due then
        redis.call('ZADD', KEYS[7], due, id)
    end
    local had, has = string.sub(old, 45, 53), string.sub(new, 45, 53)
    if had ~= has then
        if had ~= NO_TERM then redis.call('ZREM', KEYS[3], had .. id) end
        if has ~= NO_TERM then redis.call('ZADD', KEYS[3], '0', has .. id) end
    end
end

local function record(id, revision)
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', '100000', '1-*', 'i', id, 'r', revision)
end
