-- KEYS: row, hot facts. Answers the server's time and both, as they were at that time.
local now = redis.call('TIME')
return {now[1], now[2], redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}
