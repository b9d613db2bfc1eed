-- Reads items, as many as fit. A found item is its entry, doc and body, false
-- where it has none or none was asked for; an absent one is three times false.
--
-- KEYS: entries, docs, bodies. ARGV: "1" for docs, "1" for bodies, most bytes,
--   keys.
local items, bytes = {}, 0
for n = 4, #ARGV do
  local key = ARGV[n]
  local entry = redis.call('HGET', KEYS[1], key)
  local doc = entry and ARGV[1] == '1' and redis.call('HGET', KEYS[2], key)
  local body = entry and ARGV[2] == '1' and redis.call('HGET', KEYS[3], key)
  table.insert(items, entry)
  table.insert(items, doc)
  table.insert(items, body)
  bytes = bytes + #(entry or '') + #(doc or '') + #(body or '')
  if bytes >= tonumber(ARGV[3]) then break end
end
return items
