UPDATE holder SET heartbeat_ms = ?2 WHERE number = ?1
