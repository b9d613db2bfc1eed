-- Makes a store, or finds one, and proves that it can be written. A store of another
-- format is not touched.
--
-- It does all that a batch does, so that what is not allowed shows here and not in the
-- middle of one.
--
-- KEYS: meta, and four that are there for a moment. ARGV: format, identity if it is new, now, "1" to make it.
local format = redis.call('HGET', KEYS[1], 'format')
if format and format ~= ARGV[1] then return {'format', format} end
if not format then
  if ARGV[4] ~= '1' then return {'missing'} end
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'identity', ARGV[2])
end
redis.call('HSET', KEYS[1], 'opened', ARGV[3])
local hash, order, set, stream = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('HSET', hash, 'a', '1')
redis.call('HINCRBY', hash, 'a', '1')
redis.call('HGET', hash, 'a')
redis.call('HMGET', hash, 'a', 'b')
redis.call('HEXISTS', hash, 'a')
redis.call('HDEL', hash, 'b')
redis.call('ZADD', order, '1', 'a')
redis.call('ZCARD', order)
redis.call('ZSCORE', order, 'a')
redis.call('ZRANGEBYLEX', order, '-', '+')
redis.call('ZREVRANGEBYLEX', order, '+', '-')
redis.call('ZREMRANGEBYSCORE', order, '-inf', '0')
redis.call('ZREM', order, 'b')
redis.call('SADD', set, 'a')
redis.call('SREM', set, 'b')
redis.call('XADD', stream, '1-0', 'a', 'b')
redis.call('XRANGE', stream, '-', '+')
redis.call('XTRIM', stream, 'MINID', '1-0')
redis.call('EXISTS', set)
redis.call('RENAME', set, hash)
redis.call('UNLINK', hash, order, stream)
return {'open', redis.call('HGET', KEYS[1], 'identity')}
