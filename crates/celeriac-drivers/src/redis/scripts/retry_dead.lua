-- Puts dead messages back in their lists with their counts at zero, but for malformed ones. The
-- failure of such a call is forgotten, so that those who ask wait for its new outcome.
--
-- ARGV: for each its number, the key of its result or "", and what is there if it is a failure that
-- cannot be read here. Returns how many there were.
local retried = 0
for i = 1, #ARGV, 3 do
  local number, result, failure = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = own .. 'dead:' .. number
  local dead = redis.call('HMGET', key, 'reason', 'list', 'message', 'queue')
  if dead[1] and dead[1] ~= 'malformed' then
    local tag = tag_of(dead[3])
    if tag then redis.call('HDEL', own .. 'deliveries', tag) end
    if result ~= '' then
      local state, unread = state_of(result)
      if state == 'FAILURE' or (unread and unread == failure) then redis.call('DEL', result) end
    end
    redis.call('LPUSH', dead[2], dead[3])
    redis.call('DEL', key)
    redis.call('ZREM', own .. 'dead_index', number)
    redis.call('HINCRBY', own .. 'dead_count', dead[4], -1)
    retried = retried + 1
  end
end
return retried
