-- How full queues are.
--
-- KEYS from 4: their lists. ARGV: for each list the name of its queue.
-- Returns for each list the ready, the delayed and the dead of its queue.
local depths = {}
for i = 4, #KEYS do
  local due = own .. 'due:' .. KEYS[i]
  local waiting = redis.call('ZCOUNT', due, '(' .. now_ms(), '+inf')
  depths[#depths + 1] = redis.call('LLEN', KEYS[i]) + redis.call('ZCARD', due) - waiting
  depths[#depths + 1] = waiting
  depths[#depths + 1] = tonumber(redis.call('HGET', own .. 'dead_count', ARGV[i - 3]) or 0)
end
return depths
