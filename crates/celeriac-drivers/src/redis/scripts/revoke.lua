-- Remembers revoked calls in the order they came, and hastens those that wait for their time.
--
-- ARGV: "!" if those that run are to be interrupted, "-" if not; how many are remembered, for how
-- many microseconds; then the ids.
-- Returns how many are new.
local revoked = own .. 'revoked'
local flag, most, age = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now_us = time()[1] * 1000000 + time()[2]
local last = tonumber(redis.call('GET', own .. 'revoked_last') or 0)
redis.call('ZREMRANGEBYSCORE', revoked, '-inf', string.format('%.0f', now_us - age))
local new = 0
for i = 4, #ARGV do
  local id = ARGV[i]
  if not redis.call('ZSCORE', revoked, flag .. id) then
    last = math.max(last + 1, now_us)
    redis.call('ZADD', revoked, string.format('%.0f', last), flag .. id)
    new = new + 1
  end
  local tag = redis.call('HGET', parked_ids, id)
  local record = tag and redis.call('HGET', parked, tag)
  if record then
    local list_len, from = string.match(record, '^%d+ (%d+) %d+ ()')
    redis.call('ZADD', own .. 'due:' .. string.sub(record, from, from + list_len - 1), 'XX', 0, tag)
  end
end
if new > 0 then redis.call('SET', own .. 'revoked_last', string.format('%.0f', last)) end
redis.call('ZREMRANGEBYRANK', revoked, 0, -most - 1)
return new
