DELETE FROM delayed WHERE task_id = ?1
