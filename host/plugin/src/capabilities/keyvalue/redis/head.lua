-- A bucket is three keys: a hash of the values, a sorted set of the keys in the order of their bytes, and a sorted set of
-- those that expire, by the time when they do. Scripts change them together, so they always agree.
local values, index, expiring = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function live(key)
    local expires = redis.call('ZSCORE', expiring, key)
    return not (expires and tonumber(expires) <= now)
end

-- The value, or false.
local function get(key)
    return live(key) and redis.call('HGET', values, key)
end

local function delete(key)
    redis.call('HDEL', values, key)
    redis.call('ZREM', index, key)
    redis.call('ZREM', expiring, key)
end

-- An empty `ttl` is none.
local function set(key, value, ttl)
    redis.call('HSET', values, key, value)
    redis.call('ZADD', index, 0, key)
    if ttl == '' then
        redis.call('ZREM', expiring, key)
    else
        redis.call('ZADD', expiring, now + tonumber(ttl), key)
    end
end

-- Drops some of what has expired: a few at a time, so that no call has to drop many.
local function sweep()
    for _, key in ipairs(redis.call('ZRANGEBYSCORE', expiring, '-inf', now, 'LIMIT', 0, 100)) do
        delete(key)
    end
end
