-- ARGV: the range of keys, the most entries, the most bytes, whether in reverse, whether with values.
-- Answers with whether something follows, then keys and values in turns.
local from, to, limit, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local reverse, with_values = ARGV[5] == '1', ARGV[6] == '1'
local part = 256
local answer, count, bytes = { '0' }, 0, 0
while true do
    local keys
    if reverse then
        keys = redis.call('ZREVRANGEBYLEX', index, to, from, 'LIMIT', 0, part)
    else
        keys = redis.call('ZRANGEBYLEX', index, from, to, 'LIMIT', 0, part)
    end
    for _, key in ipairs(keys) do
        local value
        if with_values then
            value = get(key)
        else
            value = live(key) and ''
        end
        if value then
            bytes = bytes + #key + #value
            if count > 0 and (count == limit or bytes > most) then
                answer[1] = '1'
                return answer
            end
            count = count + 1
            answer[2 * count] = key
            answer[2 * count + 1] = value
        end
    end
    if #keys < part then
        return answer
    end
    if reverse then
        to = '(' .. keys[#keys]
    else
        from = '(' .. keys[#keys]
    end
end
