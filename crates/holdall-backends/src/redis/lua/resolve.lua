-- What became of a batch; gives it up if it has not arrived.
--
-- KEYS: meta, log, batches, aborted. ARGV: id, "1" if its age is fit for a batch,
--   its time, the time from which it is refused for its age, most ids in aborted.
local seq = redis.call('HGET', KEYS[3], ARGV[1])
if seq then
  local found = redis.call('XRANGE', KEYS[2], seq .. '-0', seq .. '-0')[1]
  return found and {'committed', found[2][4], found[2][6]} or {'unknown'}
end
if redis.call('ZSCORE', KEYS[4], ARGV[1]) then return {'aborted'} end
local horizon = redis.call('HGET', KEYS[1], 'horizon')
if ARGV[2] ~= '1' or (horizon and tonumber(ARGV[3]) <= tonumber(horizon)) then
  return {'unknown'}
end
if redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[5]) then return {'full'} end
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
return {'aborted'}
