-- ARGV: the range of keys.
-- What has expired is in the index until it is swept.
local count = redis.call('ZLEXCOUNT', index, ARGV[1], ARGV[2])
if redis.call('ZCOUNT', expiring, '-inf', now) == 0 then
    return count
end
for _, key in ipairs(redis.call('ZRANGEBYLEX', index, ARGV[1], ARGV[2])) do
    if not live(key) then
        count = count - 1
    end
end
return count
