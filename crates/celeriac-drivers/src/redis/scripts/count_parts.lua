-- Counts parts of one chord in the keys of Celery 5.7, and claims the chord if all are there.
--
-- ARGV: what the chord's keys begin with, claimant, how long parts and a claim live in s; then for
-- each part its mark, its score, its text.
-- Returns the texts of all parts in their places, or none if the chord is not the claimant's to end.
local base = ARGV[1]
local claim, marks, parts = base .. '.c', base .. '.d', base .. '.j'
local size, change = base .. '.s', base .. '.t'
local holder = redis.call('GET', claim)
if holder == 'done' then return {} end
-- Celery keeps a list where it was told that order does not matter.
local is_list = redis.call('TYPE', parts).ok == 'list'
for i = 5, #ARGV, 3 do
  if redis.call('SADD', marks, ARGV[i]) == 1 then
    if is_list then
      redis.call('RPUSH', parts, ARGV[i + 2])
    else
      redis.call('ZADD', parts, ARGV[i + 1], ARGV[i + 2])
    end
  end
end
for _, key in ipairs({ parts, change, size, marks, base }) do
  redis.call('EXPIRE', key, ARGV[3])
end
local total = tonumber(redis.call('GET', size) or 'inf') + tonumber(redis.call('GET', change) or 0)
local counted = redis.call(is_list and 'LLEN' or 'ZCARD', parts)
if counted < total or (holder and holder ~= ARGV[2]) then return {} end
redis.call('SET', claim, ARGV[2], 'EX', ARGV[4])
return redis.call(is_list and 'LRANGE' or 'ZRANGE', parts, 0, -1)
