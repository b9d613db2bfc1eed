-- Writes a batch. All that may refuse it is looked at before anything is written.
--
-- KEYS: meta, log, batches, aborted, names, indexes, leases, staged, small, dropped;
--   then of each collection: entries, docs, bodies, keys, large, and of each of
--   its unique indexes: unique, holds.
-- ARGV: now, now in 8 bytes, id, number of collections; then of each collection:
--   name, number of its indexes' state, and how many there are, each "1" if it is
--   ready; then of each operation 11, see below.
local now, now8, id = tonumber(ARGV[1]), ARGV[2], ARGV[3]
if redis.call('ZSCORE', KEYS[4], id) then return {'aborted'} end
if redis.call('HEXISTS', KEYS[3], id) == 1 then return {'used'} end

local collections, k, a = {}, 11, 5
for n = 1, tonumber(ARGV[4]) do
  local c = {name = ARGV[a], entries = KEYS[k], docs = KEYS[k + 1], bodies = KEYS[k + 2],
    keys = KEYS[k + 3], large = KEYS[k + 4], indexes = {}, touched = {}}
  local declared = redis.call('HGET', KEYS[6], c.name)
  local number = declared and string.match(declared, '^%d+') or '0'
  if number ~= ARGV[a + 1] then return {'indexes', c.name, declared} end
  k = k + 5
  for ready in string.gmatch(ARGV[a + 2], '.') do
    table.insert(c.indexes, {unique = KEYS[k], holds = KEYS[k + 1], ready = ready == '1', new = {}})
    k = k + 2
  end
  a = a + 3
  collections[n] = c
end

local operations, used = {}, {}
while ARGV[a] do
  local o = {c = collections[tonumber(ARGV[a])], action = ARGV[a + 1], condition = ARGV[a + 2],
    key = ARGV[a + 3], name = ARGV[a + 4], rest = ARGV[a + 5], doc = ARGV[a + 6],
    kind = ARGV[a + 7], body = ARGV[a + 8], record = ARGV[a + 9], values = ARGV[a + 10]}
  a = a + 11
  table.insert(operations, o)
  o.old = redis.call('HGET', o.c.entries, o.key)
  local version = o.old and string.sub(o.old, 1, 16) or ''
  local wanted = o.condition
  if (wanted == 'absent' and o.old) or (wanted == 'present' and not o.old)
    or (#wanted == 16 and wanted ~= version) then
    return {'condition', tostring(#operations), version}
  end
  if o.action ~= 'check' then o.c.touched[o.key] = true end
end

-- Of the state after the batch: what its items had is free.
for n, o in ipairs(operations) do
  for i, index in ipairs(o.c.indexes) do
    local value = o.action == 'put' and string.sub(o.values, 33 * i - 32, 33 * i) or ''
    if string.sub(value, 1, 1) == '1' then
      value = string.sub(value, 2)
      local owner = redis.call('HGET', index.unique, value)
      if owner and o.c.touched[owner] then owner = false end
      owner = owner or index.new[value]
      if not owner then
        index.new[value] = o.key
      elseif index.ready then
        return {'taken', tostring(n), tostring(i), owner}
      else
        index.shared = {o.key, owner}
      end
    end
  end
end
for n, o in ipairs(operations) do
  if o.kind == 'small' or o.kind == 'large' then
    local expires = redis.call('ZSCORE', KEYS[7], o.body)
    if not expires or tonumber(expires) <= now or used[o.body]
      or redis.call('HGET', KEYS[8], o.body) ~= o.record then
      return {'staged', tostring(n)}
    end
    used[o.body] = true
  end
end

-- From here on everything is written.
for _, o in ipairs(operations) do
  if o.action ~= 'check' then
    for _, index in ipairs(o.c.indexes) do
      local value = redis.call('HGET', index.holds, o.key)
      if value then
        redis.call('HDEL', index.holds, o.key)
        if redis.call('HGET', index.unique, value) == o.key then
          redis.call('HDEL', index.unique, value)
        end
      end
    end
  end
end
for _, c in ipairs(collections) do
  for _, index in ipairs(c.indexes) do
    for value, key in pairs(index.new) do
      redis.call('HSET', index.unique, value, key)
      redis.call('HSET', index.holds, key, value)
    end
    if index.shared then
      redis.call('HSET', index.unique, '!a', index.shared[1], '!b', index.shared[2])
    end
  end
end
local changes, answer = {}, {'done'}
for _, o in ipairs(operations) do
  if o.action ~= 'check' and o.old then
    -- The flags are byte 41; the id of a large body stands behind them.
    if string.byte(o.old, 41) >= 2 then
      local body = string.sub(o.old, 42, 57)
      redis.call('SREM', o.c.large, body)
      redis.call('ZADD', KEYS[10], ARGV[1], 'b' .. body)
    end
  end
  local previous = o.old and ('\1' .. string.sub(o.old, 1, 16)) or '\0'
  if o.action == 'put' then
    local created = o.old and string.sub(o.old, 17, 24) or now8
    redis.call('HSET', o.c.entries, o.key, id .. created .. o.rest)
    redis.call('HSET', o.c.docs, o.key, o.doc)
    if o.kind == 'bytes' then
      redis.call('HSET', o.c.bodies, o.key, o.body)
    elseif o.kind == 'small' then
      redis.call('HSET', o.c.bodies, o.key, redis.call('HGET', KEYS[9], o.body))
      redis.call('HDEL', KEYS[9], o.body)
    elseif o.old then
      redis.call('HDEL', o.c.bodies, o.key)
    end
    if o.kind == 'large' then redis.call('SADD', o.c.large, o.body) end
    if o.kind == 'small' or o.kind == 'large' then
      redis.call('HDEL', KEYS[8], o.body)
      redis.call('ZREM', KEYS[7], o.body)
    end
    if not o.old then redis.call('ZADD', o.c.keys, '0', o.key) end
    table.insert(changes, '\1' .. o.name .. previous .. created)
    table.insert(answer, created)
  elseif o.action == 'delete' and o.old then
    redis.call('HDEL', o.c.entries, o.key)
    redis.call('HDEL', o.c.docs, o.key)
    redis.call('HDEL', o.c.bodies, o.key)
    redis.call('ZREM', o.c.keys, o.key)
    table.insert(changes, '\2' .. o.name .. previous)
  end
end
for _, c in ipairs(collections) do
  if redis.call('EXISTS', c.keys) == 1 then
    redis.call('ZADD', KEYS[5], '0', c.name)
  else
    redis.call('ZREM', KEYS[5], c.name)
  end
end
changes = table.concat(changes)
local seq = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'seq', '1'))
redis.call('XADD', KEYS[2], seq .. '-0', 'b', id, 't', ARGV[1], 'c', changes)
redis.call('HSET', KEYS[3], id, seq)
redis.call('HINCRBY', KEYS[1], 'bytes', tostring(#changes))
return answer
