-- A page of the log from a number on, and where it ends: its last number, and the
-- last that was trimmed.
--
-- KEYS: meta, log. ARGV: number, most batches.
local facts = redis.call('HMGET', KEYS[1], 'seq', 'trimmed')
local page = {facts[1] or '0', facts[2] or '0'}
for _, batch in ipairs(redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[2])) do
  table.insert(page, string.match(batch[1], '^%d+'))
  table.insert(page, batch[2][2])
  table.insert(page, batch[2][6])
end
return page
