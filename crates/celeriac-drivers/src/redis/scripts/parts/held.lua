-- Messages that are held by consumers of ours.
local held = own .. 'held'

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

-- Takes a message away from its holder.
local function release(tag)
  redis.call('ZREM', index, tag)
  redis.call('HDEL', unacked, tag)
  redis.call('HDEL', held, tag)
end
