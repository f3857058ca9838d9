-- ARGV: the most bytes, then the keys.
local most, bytes, answer = tonumber(ARGV[1]), 0, {}
for i = 2, #ARGV do
    local value = get(ARGV[i])
    if value then
        bytes = bytes + #value
        if bytes > most then
            return redis.error_reply('TOOMANYBYTES in the values that were asked for')
        end
    end
    answer[i - 1] = value
end
return answer
