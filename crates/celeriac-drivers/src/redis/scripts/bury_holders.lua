-- Ends leases: of the owners named, and if so asked those that have lapsed.
--
-- ARGV: whether those that have lapsed; then owners.
-- Returns the owners whose messages nobody has taken back yet.
local consumers, buried = own .. 'consumers', own .. 'buried'
local ending = {unpack(ARGV, 2)}
if ARGV[1] == '1' then
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', consumers, '-inf', '(' .. now_ms())) do
    ending[#ending + 1] = owner
  end
end
for _, owner in ipairs(ending) do
  redis.call('ZREM', consumers, owner)
  redis.call('HDEL', own .. 'consumer', owner)
  redis.call('SADD', buried, owner)
end
return redis.call('SMEMBERS', buried)
