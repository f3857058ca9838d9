-- ARGV: the key, the time to live, whether a value is expected, which, whether one is to be set, which.
sweep()
local key, ttl = ARGV[1], ARGV[2]
local expected = ARGV[3] == '1' and ARGV[4]
if get(key) ~= expected then
    return 0
end
if ARGV[5] == '1' then
    set(key, ARGV[6], ttl)
else
    delete(key)
end
return 1
