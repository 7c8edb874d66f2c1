-- A final state is never replaced by one that is not; ?12 says whether it may be by another final one.
INSERT INTO result (number, task_id, task, state, final, attempt, stored_us, expires_us,
                    progress, error, content_type, value)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?13)
ON CONFLICT (task_id) DO UPDATE SET
    number = excluded.number, task = excluded.task, state = excluded.state, final = excluded.final,
    attempt = excluded.attempt, stored_us = excluded.stored_us, expires_us = excluded.expires_us,
    progress = excluded.progress, error = excluded.error,
    content_type = excluded.content_type, value = excluded.value
WHERE NOT result.final OR (excluded.final AND ?12)
