-- Whether an id comes behind another one in the order of bytes. Lua's own comparison follows the server's locale.
local function above(a, b)
    if a == b then return false end
    local at = 1
    while string.sub(a, at, at + 7) == string.sub(b, at, at + 7) do at = at + 8 end
    while string.byte(a, at) == string.byte(b, at) do at = at + 1 end
    return (string.byte(a, at) or -1) > (string.byte(b, at) or -1)
end
