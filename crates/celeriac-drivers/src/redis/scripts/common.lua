-- What every script begins with: our keys, and the moves of a message.
--
-- KEYS[1] and KEYS[2] are kombu's hash and index of held messages, KEYS[3] begins our own keys:
--   held        tag -> "owner count length sequence list": who holds a message, how often it was
--               delivered, how long its text is, when it was claimed, the list it came from
--   deliveries  tag -> "count ms": how often a message was delivered that nobody of ours holds
--   parked      tag -> "count #list #id list id text": messages that wait for their time
--   parked_ids  task id -> tag of a parked message
--   due:LIST    tags of parked messages by the time they are due, in ms
--   consumers   owner -> the end of its lease, in ms; buried: owners whose lease has ended
--   revoked     "!id" or "-id" in the order they came; revoked_last: the score of the last
--   dead:N      a dead message; dead_index, dead_count (by queue), dead_last
local unacked, index, own = KEYS[1], KEYS[2], KEYS[3]
local held, deliveries = own .. 'held', own .. 'deliveries'
local parked, parked_ids = own .. 'parked', own .. 'parked_ids'
local consumers, buried = own .. 'consumers', own .. 'buried'
local revoked = own .. 'revoked'

-- As many arguments as one call may have, and an even number.
local MOST = 2000

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- In whole seconds, rounded up, for the index: reading fractions is what takes longest in it.
local now_s = string.format('%d', time[1] + 1)

-- Calls a command with any number of arguments after its key.
local function call_in_parts(command, key, args)
  for from = 1, #args, MOST do
    redis.call(command, key, unpack(args, from, math.min(from + MOST - 1, #args)))
  end
end

-- The values of any number of fields; false where there is none.
local function read_in_parts(command, key, fields)
  local values = {}
  for from = 1, #fields, MOST do
    local part = redis.call(command, key, unpack(fields, from, math.min(from + MOST - 1, #fields)))
    for i = 1, #part do values[from + i - 1] = part[i] end
  end
  return values
end

local function held_record(owner, count, length, sequence, list)
  return table.concat({owner, count, length, sequence, list}, ' ')
end

-- Owner, count, length, sequence and list of what is held under a record.
local function read_held(record)
  local owner, count, length, sequence, list =
    string.match(record, '^(%S+) (%d+) (%d+) (%d+) (.*)$')
  return owner, tonumber(count), tonumber(length), sequence, list
end

-- The text of a held message, as its sender wrote it; nil if it is not there any more.
local function text_of(tag, length)
  local entry = redis.call('HGET', unacked, tag)
  if not entry then return nil end
  return string.sub(entry, 2, 1 + length)
end

-- The delivery tag in a message's text; nil if there is none. It is the last of its name: a header
-- of the sender's own may have the same one. Senders write it at the end, so that is looked at first.
-- One of other characters than ASCII is none: it becomes a key of ours, which all have to read.
local function tag_of(text)
  local usual = string.match(text, '^"delivery_tag": "([%w-]+)"}}$', -56)
  if usual then return usual end
  local from = string.find(text, '"delivery_tag"', -100, true)
  local tag = from and string.match(text, '^"delivery_tag"%s*:%s*"([^"\\%c\128-\255]+)"', from)
  if tag and not string.find(text, '"delivery_tag"', from + 1, true) then return tag end
  -- Without the anchor a text that has none would be searched once from each of its bytes.
  return string.match(text, '^.*"delivery_tag"%s*:%s*"([^"\\%c\128-\255]+)"')
end

-- Remembers how often a message was delivered while nobody of ours holds it.
local function keep_count(tag, count)
  if count > 0 then
    redis.call('HSET', deliveries, tag, string.format('%d %d', count, now_ms))
  end
end

-- Takes a message away from its holder.
local function release(tag)
  redis.call('ZREM', index, tag)
  redis.call('HDEL', unacked, tag)
  redis.call('HDEL', held, tag)
end

-- Sets the two flags that kombu sets in a message it gives back.
local function mark_redelivered(text)
  if string.find(text, '"redelivered"%s*:%s*true') then return text end
  for _, name in ipairs({'headers', 'delivery_info'}) do
    local _, last = string.find(text, '"' .. name .. '"%s*:%s*{')
    if last then
      local comma = string.find(text, '^%s*}', last + 1) and '' or ', '
      text = string.sub(text, 1, last) .. '"redelivered": true' .. comma
        .. string.sub(text, last + 1)
    end
  end
  return text
end

-- Puts a message back in its list, to be the next one.
local function give_back(tag, text, list, count)
  keep_count(tag, count)
  redis.call('RPUSH', list, mark_redelivered(text))
end

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

-- Keeps a message among the dead.
local function bury(text, list, queue, reason, detail, count)
  local number = redis.call('INCR', own .. 'dead_last')
  redis.call('HSET', own .. 'dead:' .. number, 'queue', queue, 'list', list, 'reason', reason,
    'detail', detail, 'died_at', now_ms, 'deliveries', count, 'message', text)
  redis.call('ZADD', own .. 'dead_index', number, number)
  redis.call('HINCRBY', own .. 'dead_count', queue, 1)
end

-- The state of a stored result; false if there is none; false and the whole of it if it cannot be
-- read here, as what is compressed.
local function state_of(key)
  local start = redis.call('GETRANGE', key, 0, 40)
  if start == '' then return false end
  local state = string.match(start, '^{"status"%s*:%s*"([^"\\]*)"')
  if state then return state end
  local whole = redis.call('GET', key)
  state = string.match('\n' .. whole, '\nstatus: (%u+)\n')
  if state then return state end
  local decode = string.find(whole, '^[\129-\143\222\223]') and cmsgpack.unpack or cjson.decode
  local read, result = pcall(decode, whole)
  if read and type(result) == 'table' then return result.status end
  return false, whole
end

-- Stores a result and tells those who wait, unless what is there must stay. One that is kept for ever
-- has no expiry, ''. `known` is what is there if the caller has read it and says that it may go.
-- Returns false, and does nothing, if what is there cannot be read here and is not known.
local function store_result(key, payload, expiry_ms, final, known)
  local state, unread = state_of(key)
  if unread and unread ~= known then return false end
  if state == 'SUCCESS' then return true end
  if final ~= '1' and (state == 'FAILURE' or state == 'REVOKED') then return true end
  if expiry_ms == '' then
    redis.call('SET', key, payload)
  elseif tonumber(expiry_ms) > 0 then
    redis.call('SET', key, payload, 'PX', expiry_ms)
  end
  redis.call('PUBLISH', key, payload)
  return true
end
