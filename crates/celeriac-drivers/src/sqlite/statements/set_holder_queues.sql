UPDATE holder SET queues = ?2 WHERE number = ?1
