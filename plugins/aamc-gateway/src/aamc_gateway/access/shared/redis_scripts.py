"""The Lua scripts of shared state on a Redis server; each runs as a whole."""

_FUNCTIONS = """
local p = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function used(name)
    local found = redis.call('HMGET', p .. 'counter:' .. name, 'charged', 'held')
    return (tonumber(found[1]) or 0) + (tonumber(found[2]) or 0)
end
local function change(name, field, amount, expires)
    if amount ~= 0 then redis.call('HINCRBYFLOAT', p .. 'counter:' .. name, field, string.format('%.17g', amount)) end
    if expires > 0 then redis.call('EXPIREAT', p .. 'counter:' .. name, math.ceil(expires + 3600)) end
end
local function release(worker, open)
    local found = false
    local held = redis.call('HGETALL', p .. 'held:' .. worker)
    for i = 1, #held, 2 do
        if not open[held[i]] then
            found = true
            local claims = cjson.decode(held[i + 1])
            for _, claim in ipairs(claims) do
                change(claim[1], 'held', -claim[2], 0)
                claim[2] = 0
            end
            redis.call('SET', p .. 'lapsed:' .. held[i], cjson.encode(claims), 'EX', 86400)
            redis.call('HDEL', p .. 'held:' .. worker, held[i])
        end
    end
    return found
end
local function give_back()
    local found = false
    for _, worker in ipairs(redis.call('ZRANGEBYSCORE', p .. 'workers', '-inf', now)) do
        found = release(worker, {}) or found
        redis.call('ZREM', p .. 'workers', worker)
    end
    return found
end
"""

RENEW = (
    _FUNCTIONS
    + """
redis.call('ZADD', p .. 'workers', now + tonumber(ARGV[3]), ARGV[2])
local open = {}
for _, token in ipairs(cjson.decode(ARGV[4])) do open[token] = true end
release(ARGV[2], open)
give_back()
"""
)
"""Renew the lease of a worker, and release its reservations that are not open. Arguments: prefix, worker, seconds, open tokens."""

RESERVE = (
    _FUNCTIONS
    + """
local claims = cjson.decode(ARGV[5])
redis.call('ZADD', p .. 'workers', now + tonumber(ARGV[3]), ARGV[2])
local function check()
    local granted = -1
    for i, claim in ipairs(claims) do
        local before = claim[6] ~= '' and claim[7] * used(claim[6]) or 0
        local total = used(claim[1]) + before
        if math.max(0, claim[2] * (1 + 1e-9) - total) < claim[4] then
            return i, total, redis.call('HGET', p .. 'counter:' .. claim[1], 'held') or '0', before
        end
        if claim[4] < claim[3] then
            local most = math.max(0, math.min(claim[3], claim[2] - total))
            if granted < 0 or most < granted then granted = most end
        end
    end
    return 0, granted
end
local index, amount, holding, before = check()
if index > 0 and give_back() then index, amount, holding, before = check() end
if index > 0 then return {index, string.format('%.17g', amount), holding, string.format('%.17g', before)} end
local fitting = -1
for _, step in ipairs(cjson.decode(ARGV[6])) do
    if step <= amount * (1 + 1e-9) and step > fitting then fitting = step end
end
if fitting >= 0 then amount = fitting end
local held = {}
for i, claim in ipairs(claims) do
    local share = claim[3]
    if claim[4] < claim[3] then share = math.min(share, amount) end
    change(claim[1], 'held', share, claim[5])
    held[i] = {claim[1], share}
end
redis.call('HSET', p .. 'held:' .. ARGV[2], ARGV[4], cjson.encode(held))
return {0, string.format('%.17g', amount)}
"""
)
"""Reserve. Arguments: prefix, worker, seconds of its lease, token, claims, steps. Returns the index of the claim that does not fit, from 1, what is
used of its counter, and what of that is held and is from the window before; else 0 and the granted amount, below 0 for none."""

SETTLE = (
    _FUNCTIONS
    + """
local found = redis.call('HGET', p .. 'held:' .. ARGV[2], ARGV[3]) or redis.call('GET', p .. 'lapsed:' .. ARGV[3])
if not found then return 0 end
local charges = cjson.decode(ARGV[4])
for i, claim in ipairs(cjson.decode(found)) do
    change(claim[1], 'held', -claim[2], 0)
    change(claim[1], 'charged', charges[i][1], charges[i][2])
end
redis.call('HDEL', p .. 'held:' .. ARGV[2], ARGV[3])
redis.call('DEL', p .. 'lapsed:' .. ARGV[3])
return 1
"""
)
"""Settle. Arguments: prefix, worker, token, charges with the expiry of their counters."""

READ = (
    _FUNCTIONS
    + """
local found = {}
for i, name in ipairs(cjson.decode(ARGV[2])) do
    found[i] = ARGV[3] == '1' and string.format('%.17g', used(name)) or redis.call('HGET', p .. 'counter:' .. name, 'charged') or '0'
end
return found
"""
)
"""Return the charged amounts, and the held ones too if the last argument is 1. Arguments: prefix, counters, 1 or 0."""

_PUT = """
local p = ARGV[1]
local function put(key, value, ttl_ms, group, most)
    local size = #value
    if most > 0 and size > most then return end
    redis.call('SET', p .. 'value:' .. key, value)
    if ttl_ms ~= '' then redis.call('PEXPIRE', p .. 'value:' .. key, ttl_ms) end
    if group == '' then return end
    local sizes, order, total = p .. 'sizes:' .. group, p .. 'group:' .. group, p .. 'total:' .. group
    local sum = redis.call('INCRBY', total, size - tonumber(redis.call('HGET', sizes, key) or 0))
    redis.call('HSET', sizes, key, size)
    local time = redis.call('TIME')
    redis.call('ZADD', order, time[1] * 1000000 + time[2], key)
    if most == 0 or sum <= most then return end
    while sum > 0.9 * most and redis.call('ZCARD', order) > 1 do
        local oldest = redis.call('ZPOPMIN', order)[1]
        sum = redis.call('DECRBY', total, redis.call('HGET', sizes, oldest))
        redis.call('HDEL', sizes, oldest)
        redis.call('DEL', p .. 'value:' .. oldest)
    end
end
"""

PUT = (
    _PUT
    + """
put(ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]))
"""
)
"""Keep a value. Arguments: prefix, key, value, milliseconds or nothing for good, group, maximum size."""

PUT_IF = (
    _PUT
    + """
local found = redis.call('GET', p .. 'value:' .. ARGV[2])
if (found and '=' .. found or '') ~= ARGV[3] then return 0 end
for i = 4, #ARGV, 5 do put(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4])) end
return 1
"""
)
"""Keep values if another is as expected. Arguments: prefix, key of the other, ``=`` and its expected value or nothing for none, and for each value
those of ``PUT`` from the key on. Returns 1 if it was."""

SCAN = """
local p, group, found = ARGV[1], ARGV[2], {}
for _, key in ipairs(redis.call('ZRANGE', p .. 'group:' .. group, 0, -1)) do
    local value = redis.call('GET', p .. 'value:' .. key)
    if value then
        found[#found + 1] = key; found[#found + 1] = value
    else
        redis.call('ZREM', p .. 'group:' .. group, key)
        redis.call('DECRBY', p .. 'total:' .. group, redis.call('HGET', p .. 'sizes:' .. group, key) or 0)
        redis.call('HDEL', p .. 'sizes:' .. group, key)
    end
end
return found
"""
"""Return the keys and values of a group, and forget those that have expired or were deleted. Arguments: prefix, group."""
