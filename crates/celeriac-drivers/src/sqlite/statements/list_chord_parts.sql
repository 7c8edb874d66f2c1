SELECT task_id, state, error, content_type, value FROM chord_part
WHERE chord = ?1 ORDER BY place, task_id
