INSERT INTO message (number, task_id, task, content_type, headers, body)
SELECT ?2, task_id, task, content_type, headers, body FROM dead WHERE number = ?1
