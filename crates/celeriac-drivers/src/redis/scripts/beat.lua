-- Renews a lease, and the time in kombu's index of what is held under it, so that no worker of
-- another kind takes it for stale.
--
-- ARGV: owner, lease in ms; then the tags.
-- Returns 1, or 0 if the lease had ended and was given up.
if not redis.call('ZSCORE', own .. 'consumers', ARGV[1]) then return 0 end
redis.call('ZADD', own .. 'consumers', now_ms() + tonumber(ARGV[2]), ARGV[1])
local renewed, until_s = {}, now_s()
for i = 3, #ARGV do
  renewed[#renewed + 1] = until_s
  renewed[#renewed + 1] = ARGV[i]
end
for from = 1, #renewed, MOST do
  redis.call('ZADD', index, 'XX', unpack(renewed, from, math.min(from + MOST - 1, #renewed)))
end
return 1
