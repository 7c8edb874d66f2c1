DELETE FROM delayed WHERE (due_ms, number) IN
    (SELECT due_ms, number FROM delayed WHERE due_ms <= ?1 ORDER BY due_ms, number LIMIT ?2)
