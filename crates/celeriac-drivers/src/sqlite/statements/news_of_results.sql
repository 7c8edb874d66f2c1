SELECT number, task_id, task, state, attempt, stored_us, expires_us, progress, error, content_type, value
FROM result WHERE number > ?1 ORDER BY number LIMIT ?2
