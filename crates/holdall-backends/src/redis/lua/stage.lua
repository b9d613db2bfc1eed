-- Takes a part of a body in, if its lease goes on, and renews that.
--
-- KEYS: leases, staged, small, body. ARGV: id, now, end of the lease, "1" if it
--   begins here, record if it ends here (else empty), "1" and all bytes of a small
--   body, else "0"; then number and bytes of each piece.
local expires = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[4] ~= '1' and (not expires or tonumber(expires) <= tonumber(ARGV[2])) then
  return 'gone'
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
if ARGV[6] == '1' then
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[7])
else
  for n = 7, #ARGV, 2 do redis.call('HSET', KEYS[4], ARGV[n], ARGV[n + 1]) end
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[5]) end
return 'done'
