-- ARGV: the time to live, then for each group the number of its entries and their keys and values.
sweep()
-- Events share most of what is beside the first entry, such as the entry of an index by actor.
local inserted, at, written = 0, 2, {}
while at <= #ARGV do
    local last = at + 2 * tonumber(ARGV[at])
    -- An expired key does not exist.
    if at < last and not get(ARGV[at + 1]) then
        inserted = inserted + 1
        for i = at + 1, last, 2 do
            if written[ARGV[i]] ~= ARGV[i + 1] then
                set(ARGV[i], ARGV[i + 1], ARGV[1])
                written[ARGV[i]] = ARGV[i + 1]
            end
        end
    end
    at = last + 1
end
return inserted
