-- Gives up a lock, if it is still the one that was taken.
--
-- ARGV: its key, the token. Returns 1 if it was.
if redis.call('GET', ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('DEL', ARGV[1])
