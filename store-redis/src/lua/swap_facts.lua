-- The rest of swap.lua.
local old, new = parse(redis.call('GET', KEYS[1])), parse(row)
redis.call('SET', KEYS[1], row)
index(old, new, ARGV[1])
record(ARGV[1], own, ARGV[5])
if status(old.terms) ~= status(new.terms) then tell(ARGV[4]) end
return 1
