-- Removes batches from the start of the log, and more while it is larger than it
-- may be; the last stays. Answers how many.
--
-- KEYS: meta, log, batches, aborted. ARGV: now, time of the oldest to keep, most
--   bytes, most batches to remove.
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', '(' .. ARGV[1])
local facts = redis.call('HMGET', KEYS[1], 'seq', 'bytes', 'horizon')
local bytes, horizon = tonumber(facts[2] or '0'), tonumber(facts[3] or '-inf') or -math.huge
local removed, last = 0, nil
for _, batch in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[4])) do
  local seq, id = string.match(batch[1], '^%d+'), batch[2][2]
  local at, size = tonumber(batch[2][4]), #batch[2][6]
  if seq == facts[1] or (at >= tonumber(ARGV[2]) and bytes <= tonumber(ARGV[3])) then break end
  redis.call('HDEL', KEYS[3], id)
  -- Ids are UUIDv7: they begin with milliseconds in 6 bytes.
  local time = 0
  for n = 1, 6 do time = time * 256 + string.byte(id, n) end
  horizon, bytes = math.max(horizon, time * 1000), bytes - size
  removed, last = removed + 1, seq
end
if last then
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', tonumber(last) + 1) .. '-0')
  redis.call('HSET', KEYS[1], 'trimmed', last, 'horizon', string.format('%.0f', horizon),
    'bytes', string.format('%.0f', bytes))
end
return removed
