-- Not if it was heard of since it was found dead.
DELETE FROM holder WHERE number = ?1 AND heartbeat_ms = ?2
