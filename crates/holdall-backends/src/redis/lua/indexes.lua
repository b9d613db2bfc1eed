-- Changes what indexes a collection has, if it is as the caller knows it, and if
-- no two items share values of those that are to be ready.
--
-- KEYS: meta, indexes; then unique of each index to be ready. ARGV: name of the
--   collection, number of the state known, the new one (empty: none).
local declared = redis.call('HGET', KEYS[2], ARGV[1])
local number = declared and string.match(declared, '^%d+') or '0'
if number ~= ARGV[2] then return {'indexes', ARGV[1], declared} end
for n = 3, #KEYS do
  local shared = redis.call('HMGET', KEYS[n], '!a', '!b')
  if shared[1] then return {'shared', tostring(n - 2), shared[1], shared[2]} end
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[2], ARGV[1])
  return {'done', ARGV[1], false}
end
declared = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'changes', '1')) .. ' ' .. ARGV[3]
redis.call('HSET', KEYS[2], ARGV[1], declared)
return {'done', ARGV[1], declared}
