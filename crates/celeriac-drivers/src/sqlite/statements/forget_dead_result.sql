DELETE FROM result WHERE task_id = (SELECT task_id FROM dead WHERE number = ?1)
