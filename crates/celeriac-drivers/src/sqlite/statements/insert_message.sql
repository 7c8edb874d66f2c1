INSERT INTO message (number, task_id, task, content_type, headers, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
