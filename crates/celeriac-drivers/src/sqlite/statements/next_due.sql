SELECT due_ms FROM delayed ORDER BY due_ms LIMIT 1
