-- Reads a page in key order: of each item its key, entry, doc and body, the last
-- two false where there is none or none was asked for. "1" in front if the page is
-- the last.
--
-- KEYS: keys, entries, docs, bodies. ARGV: "1" for docs, "1" for bodies, most
--   bytes, most items, "1" for reverse, first and last key as ZRANGEBYLEX has
--   them, in the direction of the scan.
local command = ARGV[5] == '1' and 'ZREVRANGEBYLEX' or 'ZRANGEBYLEX'
local keys = redis.call(command, KEYS[1], ARGV[6], ARGV[7], 'LIMIT', '0', ARGV[4])
local page, bytes = {#keys < tonumber(ARGV[4]) and '1' or '0'}, 0
for n, key in ipairs(keys) do
  local entry = redis.call('HGET', KEYS[2], key)
  local doc = ARGV[1] == '1' and redis.call('HGET', KEYS[3], key)
  local body = ARGV[2] == '1' and redis.call('HGET', KEYS[4], key)
  table.insert(page, key)
  table.insert(page, entry)
  table.insert(page, doc)
  table.insert(page, body)
  bytes = bytes + #key + #(entry or '') + #(doc or '') + #(body or '')
  if bytes >= tonumber(ARGV[3]) and n < #keys then
    page[1] = '0'
    break
  end
end
return page
