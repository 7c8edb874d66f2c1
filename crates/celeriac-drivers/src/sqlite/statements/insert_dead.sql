INSERT INTO dead (number, queue, rank, reason, detail, died_ms, deliveries,
                  task_id, task, content_type, headers, body)
SELECT number, ?2, ?3, ?4, ?5, ?6, ?7, task_id, task, content_type, headers, body
FROM message WHERE number = ?1
