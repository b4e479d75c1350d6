"""The scripts that a Redis server runs for a log.

A group of writes is committed in two steps. COMMIT looks whether what the group was computed from is still so, and keeps the whole group by one
command, the journal; FEEDBACK computes a group and keeps it. APPLY then writes the journal's commands and deletes it. A server that is killed in the
middle of a transaction keeps its beginning in the append-only file, and runs that with the first transaction after its next start (Redis 7 does). A
single command is there whole or not at all, so the journal is; and its commands only set values, so it does no harm that some of them run twice.
Every reader and writer finishes a journal that is left before it goes on. A group is acknowledged after both steps; one of many entries after the
first, which makes it durable, so that its caller goes on while the server applies it.

A journal is a hash: a base position and a size in 8 bytes each, and a MessagePack array of commands: ``[name, argument, ...]`` is a command as it is;
``[5, decision, field, value, write]`` sets a field of a decision's hash to the next position after base and a value, and appends the place to the
stream; with a write, it sets the field ``p`` too (earlier programs: ``[1, n, key, field, value, place, write]``); ``[2, n, key, field, value]`` sets
a field to the position base + n and a value; ``[3, number]`` sets a partition's size; ``[4, n]`` sets the log's last position.
"""

from __future__ import annotations

_APPLY = """
local function apply()
    local journal = redis.call('HMGET', P .. 'journal', 'begin', 'ops')
    if not journal[2] then return end
    local base, size = struct.unpack('>I8I8', journal[1])
    local stream, decision, position = P .. 'stream', P .. 'decision:', base
    local call, try, pack, format = redis.call, redis.pcall, struct.pack, string.format
    for _, op in ipairs(cmsgpack.unpack(journal[2])) do
        local kind = op[1]
        if kind == 1 then kind, op = 5, {5, string.match(op[6], '^%Z+'), op[4], op[5], op[7]} end
        if kind == 5 then
            position = position + 1
            local number, id, field, write = pack('>I8', position), op[2], op[3], op[5]
            if write then
                call('HSET', decision .. id, field, number .. op[4], 'p', number .. write)
            else
                call('HSET', decision .. id, field, number .. op[4])
            end
            local added = try('XADD', stream, format('%.0f-0', position), 'e', id .. '\\0' .. field)
            if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller') then error(added.err) end
        elseif kind == 2 then
            redis.call('HSET', op[3], op[4], struct.pack('>I8', base + op[2]) .. op[5])
        elseif kind == 3 then
            redis.call('HSET', P .. 'sizes', op[2], string.format('%.0f', size))
        elseif kind == 4 then
            redis.call('SET', P .. 'position', string.format('%.0f', base + op[2]))
        else
            redis.call(unpack(op))
        end
    end
    redis.call('DEL', P .. 'journal')
end
"""
_KEEP = """
local function keep(ops, partition, bytes)
    local base = tonumber(redis.call('GET', P .. 'position')) or 0
    local size = (tonumber(redis.call('HGET', P .. 'sizes', partition)) or 0) + bytes
    redis.call('HSET', P .. 'journal', 'begin', struct.pack('>I8I8', base, size), 'ops', ops)
    return base
end
"""
_PACK = """
if redis.call('EXISTS', P .. 'journal') == 1 then return false end
local parts, filled = {}, 0
local function put(text)
    filled = filled + 1
    parts[filled] = text
end
local function bin(text)
    if text then
        put('\\198' .. struct.pack('>I4', #text))
        put(text)
    else
        put('\\192')
    end
end
local function num(value) put('\\203' .. struct.pack('>d', tonumber(value) or 0)) end
local function list(size) put('\\221' .. struct.pack('>I4', size)) end
local function later()
    put('')
    return filled
end
local function list_at(place, size) parts[place] = '\\221' .. struct.pack('>I4', size) end
local function answer() return table.concat(parts) end
local function get(name) return redis.call('GET', P .. name) end
local function facts()
    local now, newest, first = redis.call('TIME'), get('newest'), redis.call('HGET', P .. 'templates', '1')
    list(11)
    num(now[1] + now[2] / 1000000)
    num(get('position'))
    num(get('start'))
    num(get('epoch'))
    bin(get('states') or '')
    num(redis.call('HLEN', P .. 'templates'))
    bin(first and redis.sha1hex(first) or '')
    num(redis.call('HLEN', P .. 'tombstones'))
    bin(newest)
    bin(newest and redis.call('HGET', P .. 'partitions', newest))
    num(newest and redis.call('HGET', P .. 'sizes', newest))
end
local function hash(id)
    local found = redis.call('HGETALL', P .. 'decision:' .. id)
    if #found == 0 then return 0 end
    local place, size = later(), 2
    bin(id)
    num(#found / 2)
    for i = 1, #found, 2 do
        if found[i] ~= 'e' and found[i] ~= 'embedding' then
            bin(found[i])
            bin(found[i + 1])
            size = size + 2
        end
    end
    list_at(place, size)
    return 1
end
local function decision(owner)
    local kept = redis.call('HMGET', P .. 'decision:' .. owner, 'd', 'decision/' .. owner, 'e', 'embedding', 'position')
    list(5)
    bin(owner)
    bin(kept[1])
    bin(kept[2])
    bin(kept[3] or kept[4])
    bin(kept[5])
end
"""


def _script(flags: str, *parts: str) -> str:
    return "\n".join([f"#!lua{flags}", "local P = KEYS[1]", *parts])


_COMMIT = """
apply()
for _, check in ipairs(cmsgpack.unpack(ARGV[1])) do
    if check[2] == 'HLEN' then
        for i = 3, #check do
            if redis.call('HLEN', check[i]) ~= tonumber(check[1]) then return -1 end
        end
    elseif tostring(redis.call(unpack(check, 2)) or '') ~= check[1] then
        return -1
    end
end
return keep(ARGV[2], ARGV[3], ARGV[4])
"""
COMMIT = _script("", _APPLY, _KEEP, _COMMIT)
"""Keeps a journal. Arguments: checks ``[[expected, command, argument, ...], ...]``, commands, a partition, and the bytes to add to its size. A check
with ``HLEN`` is of any number of hashes.

Returns the base position, or -1 where a check failed.
"""
COMMIT_ALWAYS = _script(" flags=allow-oom", _APPLY, _KEEP, _COMMIT)
"""The same, also when the server's memory is full: for commands that free memory."""
FEEDBACK = _script(
    "",
    _APPLY,
    _KEEP,
    """
local function candidate(value)  -- as MessagePack; it begins at byte 11
    local first, second, third = string.byte(value, 11, 13)
    local size = first < 192 and first - 160 or first == 217 and 1 + second or 2 + 256 * second + third
    return string.sub(value, 11, 11 + size)
end
local function served(attempt)
    local content = 11 + #candidate(attempt)
    local status = string.match(attempt, '"status":%s*"([^"]*)"', content)
    return status == 'ok' or not status and string.find(attempt, '"error":%s*null', content)
end
apply()
local moved = redis.call('EXISTS', P .. 'moved') == 1
local ops, keys, bytes = {}, {}, tonumber(ARGV[3])
for n, new in ipairs(cmsgpack.unpack(ARGV[1])) do
    local id, field, rest = new[1], new[2], new[3]
    local source, decision, attempt, latest = string.sub(field, 2), nil, nil, 0
    keys[#keys + 1] = P .. 'feedback:' .. id .. source
    if moved then keys[#keys + 1] = P .. 'revisions:' .. id .. source end
    local found = redis.call('HGETALL', P .. 'decision:' .. id)
    for i = 1, #found, 2 do
        local name, value = found[i], found[i + 1]
        if name == 'd' then
            decision = value
        elseif string.match(name, '^f#?%d*(/.*)') == source then
            return -1
        elseif string.find(name, '^[aA]/') and string.byte(value, 10) == 194 and served(value) then
            local position = struct.unpack('>I8', value)
            if position > latest then attempt, latest = value, position end
        end
    end
    if not decision then return -1 end
    local value = '\\148\\194' .. candidate(attempt or decision) .. rest
    bytes = bytes + #value
    ops[n] = {5, id, field, value, ARGV[2]}
end
for i = 1, #keys, 1000 do
    if redis.call('EXISTS', unpack(keys, i, math.min(i + 999, #keys))) > 0 then return -1 end
end
local partition, count = redis.call('GET', P .. 'newest') or '0', #ops
ops[count + 1] = {3, partition}
ops[count + 2] = {4, count}
return keep(cmsgpack.pack(ops), partition, bytes)
""",
)
"""Keeps a journal that adds new feedback, each on the candidate of the latest attempt that is ok, else on the chosen one, as the log's rules do.

Arguments: a list of decision, field and value, which lacks position and candidate; the write; and the bytes to add to a partition's size besides
those of the values. Byte 10 of a value is the pending flag.

Returns the base position, or -1 where some feedback is known, or its decision is not in the log or was written by version 2.
"""
APPLY = _script(" flags=allow-oom", _APPLY, "apply()", "return 1")
"""Finishes a journal."""

EXCERPT = _script(
    " flags=no-writes",
    _PACK,
    """
local asked = cmsgpack.unpack(ARGV[1])
local there, old = {}, get('moved')
list(3)
facts()
local decisions, size = later(), 0
for _, id in ipairs(asked[1]) do
    there[id] = true
    size = size + hash(id)
end
local kept = {}
for i, id in ipairs(asked[2]) do
    kept[i] = get('feedback:' .. id)
    local owner = kept[i] and string.sub(kept[i], 1, 1) == '=' and string.sub(kept[i], 2)
    if owner and not there[owner] then
        there[owner] = true
        size = size + hash(owner)
    end
end
list_at(decisions, size)
local feedback, found = later(), 0
for i, id in ipairs(asked[2]) do
    local revisions = old and redis.call('HVALS', P .. 'revisions:' .. id) or {}
    if kept[i] or #revisions > 0 then
        found = found + 1
        list(2 + #revisions)
        bin(id)
        bin(kept[i])
        for _, revision in ipairs(revisions) do bin(revision) end
    end
end
list_at(feedback, found)
return answer()
""",
)
"""Returns facts on the log, and those of some decisions' hashes and of some feedback's keys that are there; nothing while a journal is there."""

BATCH = _script(
    " flags=no-writes",
    _PACK,
    """
local after, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local function id(position) return string.format('%.0f-0', position) end
local function holder(place)
    local nul = string.find(place, '\\0', 1, true)
    if nul then
        local owner = string.sub(place, 1, nul - 1)
        return owner, redis.call('HGET', P .. 'decision:' .. owner, string.sub(place, nul + 1))
    end
    local old = cjson.decode(place)
    local revision = old[4] or 0
    if old[1] == 'decision' then
        return old[3], redis.call('HGET', P .. 'decision:' .. old[3], 'decision/' .. old[2])
    elseif old[1] == 'attempt' then
        return old[3], redis.call('HGET', P .. 'decision:' .. old[3], 'attempt/' .. old[2])
    elseif revision == 0 then
        return old[3], get('feedback:' .. old[2])
    end
    return old[3], redis.call('HGET', P .. 'revisions:' .. old[2], string.format('%.0f', revision))
end
local before = after > 0 and redis.call('XRANGE', P .. 'stream', id(after), id(after)) or {}
local found = limit > 0 and redis.call('XRANGE', P .. 'stream', id(after + 1), '+', 'COUNT', limit) or {}
local there, owners = {}, {}
list(4)
facts()
bin(before[1] and before[1][2][2])
list(#found)
for _, entry in ipairs(found) do
    local place = entry[2][2]
    local owner, value = holder(place)
    list(3)
    num(string.match(entry[1], '^%d+'))
    bin(place)
    bin(value)
    if value and ARGV[3] == '1' and not there[owner] then
        there[owner] = true
        owners[#owners + 1] = owner
    elseif value and ARGV[3] == 'e' and (string.sub(place, -2) == '\\0d' or string.sub(place, 1, 11) == '["decision"') then
        owners[#owners + 1] = owner
    end
end
if ARGV[3] == 'e' then
    local size, embeddings = 0, later()
    for _, owner in ipairs(owners) do
        local kept = redis.call('HMGET', P .. 'decision:' .. owner, 'e', 'embedding')
        if kept[1] or kept[2] then
            size = size + 1
            list(5)
            bin(owner)
            bin()
            bin()
            bin(kept[1] or kept[2])
            bin()
        end
    end
    list_at(embeddings, size)
else
    list(#owners)
    for _, owner in ipairs(owners) do decision(owner) end
end
return answer()
""",
)
"""Returns facts on the log, the place at a position, the places and entries after it, and their decisions; nothing while a journal is there.

Arguments: the position, the number of entries, and which decisions are wanted: 1 for those of all entries, 0 for none, and e for the embeddings of
those that were made in the batch, without the rest.
"""

DECISIONS = _script(
    " flags=no-writes",
    _PACK,
    """
local owners = cmsgpack.unpack(ARGV[1])
list(2)
facts()
list(#owners)
for _, owner in ipairs(owners) do decision(owner) end
return answer()
""",
)
"""Returns facts on the log, and some decisions; nothing while a journal is there."""

MOVE = """#!lua
local P, first = KEYS[1], 0
local last = redis.call('XREVRANGE', P .. 'stream', '+', '-', 'COUNT', 1)
if last[1] then first = tonumber(string.match(last[1][1], '^%d+')) end
local places = redis.call('LRANGE', P .. 'log', first, first + ARGV[1] - 1)
for i, place in ipairs(places) do
    redis.call('XADD', P .. 'stream', string.format('%.0f-0', first + i), 'e', place)
end
return redis.call('LLEN', P .. 'log') - first - #places
"""
"""Moves some places of version 2's list to the stream. Argument: how many. Returns the number that is left."""
