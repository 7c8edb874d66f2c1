-- Broadcasts a command to all workers.
--
-- ARGV: their channel, the command.
-- Returns how many workers hear it. They subscribe by pattern, kombu's and ours; who subscribes to the
-- channel by its name listens in and does not answer.
local hear = redis.call('PUBLISH', ARGV[1], ARGV[2])
local listen_in = redis.pcall('PUBSUB', 'NUMSUB', ARGV[1])
-- Who may not ask for that counts too many.
if listen_in.err then return hear end
return hear - listen_in[2]
