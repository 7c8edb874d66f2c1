UPDATE chord SET closed = 1, counted = 0 WHERE name = ?1
