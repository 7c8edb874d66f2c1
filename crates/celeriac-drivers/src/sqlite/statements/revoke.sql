INSERT INTO revoked (number, task_id, revoked_ms) VALUES (?1, ?2, ?3)
ON CONFLICT (task_id) DO UPDATE SET number = excluded.number, revoked_ms = excluded.revoked_ms
