SELECT number, task_id FROM revoked WHERE number > ?1 ORDER BY number
