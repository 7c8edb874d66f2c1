-- Drops the messages of a queue that nobody holds, of the waiting ones so many at a time.
--
-- KEYS from 4: its lists. ARGV: how many at a time.
-- Returns how many were dropped, and whether there are more.
local dropped, most = 0, tonumber(ARGV[1])
for i = 4, #KEYS do
  dropped = dropped + redis.call('LLEN', KEYS[i])
  redis.call('DEL', KEYS[i])
  for _, tag in ipairs(redis.call('ZRANGE', own .. 'due:' .. KEYS[i], 0, most - 1)) do
    if unpark(tag) then
      dropped = dropped + 1
    else
      redis.call('ZREM', own .. 'due:' .. KEYS[i], tag)
    end
  end
  if redis.call('EXISTS', own .. 'due:' .. KEYS[i]) == 1 then return {dropped, 1} end
end
return {dropped, 0}
