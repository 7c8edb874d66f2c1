DELETE FROM result WHERE task_id = ?1
