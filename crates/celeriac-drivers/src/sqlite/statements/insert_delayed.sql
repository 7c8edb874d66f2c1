INSERT INTO delayed (queue, rank, number, deliveries, due_ms, task_id)
VALUES (?1, ?2, ?3, ?4, ?5, (SELECT task_id FROM message WHERE number = ?3))
