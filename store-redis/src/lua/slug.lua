-- KEYS: rows. ARGV: slug. Answers the id and the row that have it, or nothing.
local id = redis.call('HGET', KEYS[1], '=' .. ARGV[1])
local row = id and redis.call('HGET', KEYS[1], id)
return row and {id, row}
