-- Registers a consumer.
--
-- ARGV: owner, lease in ms, particulars, queues; then for each queue its name, the key of its
-- binding, the key of its permanent binding, and the member of both.
-- Returns the last revocation.
redis.call('ZADD', consumers, now_ms + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', own .. 'consumer', ARGV[1], ARGV[3])
for i = 5, #ARGV, 4 do
  redis.call('SADD', own .. 'queues', ARGV[i])
  redis.call('SADD', ARGV[i + 1], ARGV[i + 3])
  redis.call('SADD', ARGV[i + 2], ARGV[i + 3])
end
return redis.call('GET', own .. 'revoked_last') or ''
