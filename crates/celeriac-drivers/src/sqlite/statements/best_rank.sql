SELECT rank FROM ready WHERE queue = ?1 ORDER BY rank LIMIT 1
