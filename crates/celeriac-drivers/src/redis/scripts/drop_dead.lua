-- Deletes dead messages.
--
-- ARGV: their numbers. Returns how many there were.
local dropped = 0
for i = 1, #ARGV do
  local key = own .. 'dead:' .. ARGV[i]
  local queue = redis.call('HGET', key, 'queue')
  if queue then
    redis.call('DEL', key)
    redis.call('ZREM', own .. 'dead_index', ARGV[i])
    redis.call('HINCRBY', own .. 'dead_count', queue, -1)
    dropped = dropped + 1
  end
end
return dropped
