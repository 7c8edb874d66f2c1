-- How often messages were delivered that nobody of ours holds.
local deliveries = own .. 'deliveries'

-- Remembers how often a message was delivered while nobody of ours holds it.
local function keep_count(tag, count)
  if count > 0 then
    redis.call('HSET', deliveries, tag, string.format('%d %d', count, now_ms()))
  end
end
