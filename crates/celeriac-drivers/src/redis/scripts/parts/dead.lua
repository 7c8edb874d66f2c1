-- Keeps a message among the dead.
local function bury(text, list, queue, reason, detail, count)
  local number = redis.call('INCR', own .. 'dead_last')
  redis.call('HSET', own .. 'dead:' .. number, 'queue', queue, 'list', list, 'reason', reason,
    'detail', detail, 'died_at', now_ms(), 'deliveries', count, 'message', text)
  redis.call('ZADD', own .. 'dead_index', number, number)
  redis.call('HINCRBY', own .. 'dead_count', queue, 1)
end
