SELECT number, task_id, task, state, attempt, stored_us, expires_us, progress, error, content_type, value
FROM result WHERE task_id = ?1 AND expires_us > ?2
