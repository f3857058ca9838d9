-- ARGV: the key.
sweep()
local there = get(ARGV[1])
delete(ARGV[1])
return there and 1 or 0
