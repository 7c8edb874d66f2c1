INSERT INTO chord_part (chord, task_id, place, state, error, content_type, value)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT (SELECT closed FROM chord WHERE name = ?1)
ON CONFLICT (chord, task_id) DO NOTHING
