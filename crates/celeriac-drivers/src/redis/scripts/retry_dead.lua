-- Puts dead messages back in their lists with their counts at zero, but for malformed ones.
--
-- ARGV: their numbers. Returns how many there were.
local retried = 0
for i = 1, #ARGV do
  local key = own .. 'dead:' .. ARGV[i]
  local dead = redis.call('HMGET', key, 'reason', 'list', 'message', 'queue')
  if dead[1] and dead[1] ~= 'malformed' then
    local tag = string.match(dead[3], '.*"delivery_tag"%s*:%s*"([^"\\]+)"')
    if tag then redis.call('HDEL', deliveries, tag) end
    redis.call('LPUSH', dead[2], dead[3])
    redis.call('DEL', key)
    redis.call('ZREM', own .. 'dead_index', ARGV[i])
    redis.call('HINCRBY', own .. 'dead_count', dead[4], -1)
    retried = retried + 1
  end
end
return retried
