-- A commit survives the death of this process, and reaches the disk with the next durable one.
PRAGMA synchronous = NORMAL;
