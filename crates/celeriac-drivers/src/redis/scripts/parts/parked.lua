-- Messages that wait for their time.
local parked, parked_ids = own .. 'parked', own .. 'parked_ids'

-- Lets a message wait until it is due.
local function park(tag, text, list, id, count, due_ms)
  local record = string.format('%d %d %d ', count, #list, #id) .. list .. id .. text
  redis.call('HSET', parked, tag, record)
  redis.call('ZADD', own .. 'due:' .. list, due_ms, tag)
  if #id > 0 then redis.call('HSET', parked_ids, id, tag) end
end

-- Takes out a parked message: its text, its list and its count.
local function unpark(tag)
  local record = redis.call('HGET', parked, tag)
  if not record then return nil end
  local count, list_len, id_len, from = string.match(record, '^(%d+) (%d+) (%d+) ()')
  local id_at = from + list_len
  local list, id = string.sub(record, from, id_at - 1), string.sub(record, id_at, id_at + id_len - 1)
  redis.call('HDEL', parked, tag)
  redis.call('ZREM', own .. 'due:' .. list, tag)
  if redis.call('HGET', parked_ids, id) == tag then redis.call('HDEL', parked_ids, id) end
  return string.sub(record, id_at + id_len), list, tonumber(count)
end
