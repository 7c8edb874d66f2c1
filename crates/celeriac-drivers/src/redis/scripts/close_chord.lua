-- Ends a chord: its parts are forgotten, and later ones count for nothing.
--
-- ARGV: what the chord's keys begin with, how long that is remembered in s.
local base = ARGV[1]
redis.call('DEL', base .. '.j', base .. '.t', base .. '.s', base .. '.d')
redis.call('SET', base .. '.c', 'done', 'EX', ARGV[2])
return 1
