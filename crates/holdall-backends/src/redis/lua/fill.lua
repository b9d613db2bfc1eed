-- Adds items to an index that is being made. One that changed since it was read was
-- added by the batch that changed it.
--
-- KEYS: indexes, entries, unique, holds. ARGV: name of the collection, id of the
--   index; then of each item: key, version, digest of its values.
local declared = redis.call('HGET', KEYS[1], ARGV[1])
if not declared or not string.find(declared, ARGV[2], 1, true) then return 'gone' end
for n = 3, #ARGV, 3 do
  local key, value = ARGV[n], ARGV[n + 2]
  local entry = redis.call('HGET', KEYS[2], key)
  if entry and string.sub(entry, 1, 16) == ARGV[n + 1]
    and redis.call('HEXISTS', KEYS[4], key) == 0 then
    local owner = redis.call('HGET', KEYS[3], value)
    if owner then
      redis.call('HSET', KEYS[3], '!a', key, '!b', owner)
      return 'shared'
    end
    redis.call('HSET', KEYS[3], value, key)
    redis.call('HSET', KEYS[4], key, value)
  end
end
return 'done'
