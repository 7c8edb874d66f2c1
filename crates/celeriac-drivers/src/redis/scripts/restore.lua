-- Gives back a message that a worker of another kind has held for too long, as kombu does.
--
-- KEYS from 4: the lists. ARGV: the tag, the entry it had when it was looked at, the oldest time
-- at which it would not be stale, the text to give back.
-- Returns 1 if it went back.
local tag = ARGV[1]
local score = redis.call('ZSCORE', index, tag)
if not score or tonumber(score) > tonumber(ARGV[3]) then return 0 end
if redis.call('HGET', unacked, tag) ~= ARGV[2] then return 0 end
redis.call('ZREM', index, tag)
redis.call('HDEL', unacked, tag)
local text = mark_redelivered(ARGV[4])
for i = 4, #KEYS do redis.call('RPUSH', KEYS[i], text) end
return 1
