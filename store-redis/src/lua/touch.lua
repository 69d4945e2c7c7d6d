-- KEYS: row and hot facts of each. ARGV: time, used and allowed of each; empty stays as it is, and no time goes back.
for i = 1, #KEYS / 2 do
    local hot = KEYS[2 * i]
    if redis.call('EXISTS', KEYS[2 * i - 1]) == 1 then
        local at, used, allowed = string.match(redis.call('GET', hot) or '||', '^(%-?%d*)|(%d*)|(%d*)$')
        local new = ARGV[3 * i - 2]
        if new ~= '' and (at == '' or tonumber(new) > tonumber(at)) then at = new end
        if ARGV[3 * i - 1] ~= '' then used, allowed = ARGV[3 * i - 1], ARGV[3 * i] end
        redis.call('SET', hot, at .. '|' .. used .. '|' .. allowed)
    end
end
return 1
