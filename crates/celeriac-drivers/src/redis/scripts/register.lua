-- Registers a consumer.
--
-- ARGV: owner, lease in ms, particulars, how many queues are listed, their names; then for each
-- binding the key of its table, the key of its permanent table, and the member of both.
-- Returns the last revocation.
redis.call('ZADD', own .. 'consumers', now_ms() + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', own .. 'consumer', ARGV[1], ARGV[3])
local listed = tonumber(ARGV[4])
if listed > 0 then redis.call('SADD', own .. 'queues', unpack(ARGV, 5, 4 + listed)) end
for i = 5 + listed, #ARGV, 3 do
  redis.call('SADD', ARGV[i], ARGV[i + 2])
  redis.call('SADD', ARGV[i + 1], ARGV[i + 2])
end
return redis.call('GET', own .. 'revoked_last') or ''
