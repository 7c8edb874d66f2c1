UPDATE chord SET counted = counted + 1 WHERE name = ?1
