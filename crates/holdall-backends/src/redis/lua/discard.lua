-- Removes bodies that wait for a batch no longer: those whose lease is over, or any
-- if no time is given.
--
-- KEYS: leases, staged, small; then the bodies. ARGV: now or empty; then the ids.
for n = 2, #ARGV do
  local expires = redis.call('ZSCORE', KEYS[1], ARGV[n])
  if expires and (ARGV[1] == '' or tonumber(expires) <= tonumber(ARGV[1])) then
    redis.call('UNLINK', KEYS[n + 2])
    redis.call('HDEL', KEYS[2], ARGV[n])
    redis.call('HDEL', KEYS[3], ARGV[n])
    redis.call('ZREM', KEYS[1], ARGV[n])
  end
end
return 'done'
