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
