-- ARGV: the time to live, then for each change its kind, its key and its value.
sweep()
for i = 2, #ARGV, 3 do
    if ARGV[i] == 'set' then
        set(ARGV[i + 1], ARGV[i + 2], ARGV[1])
    else
        delete(ARGV[i + 1])
    end
end
return 1
