SELECT max(task_id) FROM result
