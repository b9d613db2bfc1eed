-- Drops a collection. Its large bodies stay for a while, for those who read them.
--
-- KEYS: meta, log, batches, names, indexes, dropped, gone, large, keys, entries,
--   docs, bodies; then unique and holds of each index.
-- ARGV: now, id, name of the collection, number of its indexes' state, name for the
--   log.
local declared = redis.call('HGET', KEYS[5], ARGV[3])
local number = declared and string.match(declared, '^%d+') or '0'
if number ~= ARGV[4] then return {'indexes', ARGV[3], declared} end
local filled = redis.call('EXISTS', KEYS[9]) == 1
if filled then
  local change = '\3' .. ARGV[5] .. '\0'
  local seq = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'seq', '1'))
  redis.call('XADD', KEYS[2], seq .. '-0', 'b', ARGV[2], 't', ARGV[1], 'c', change)
  redis.call('HSET', KEYS[3], ARGV[2], seq)
  redis.call('HINCRBY', KEYS[1], 'bytes', tostring(#change))
end
if redis.call('EXISTS', KEYS[8]) == 1 then
  redis.call('RENAME', KEYS[8], KEYS[7])
  redis.call('ZADD', KEYS[6], ARGV[1], 's' .. ARGV[2])
end
for n = 9, #KEYS do redis.call('UNLINK', KEYS[n]) end
redis.call('ZREM', KEYS[4], ARGV[3])
redis.call('HDEL', KEYS[5], ARGV[3])
return {'done'}
