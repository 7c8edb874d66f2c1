-- Replaces an object, if nobody has meanwhile, and tells those who have answers now.
--
-- KEYS: the object. ARGV: the version that is replaced; the new version; the new object; how long it is
-- kept in milliseconds, 0 for ever; then, for each session that is told, its channel; and last what it is
-- told. Without a new version nothing is replaced.
--
-- Gives the time, and if another version is there, that version and the object.
local time = redis.call('TIME')
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[1] then
  return {time[1], time[2], version, redis.call('HGET', KEYS[1], 'object') or ''}
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'version', ARGV[2], 'object', ARGV[3])
  if ARGV[4] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
  end
  for index = 5, #ARGV - 1 do
    redis.call('PUBLISH', ARGV[index], ARGV[#ARGV])
  end
end
return {time[1], time[2]}
