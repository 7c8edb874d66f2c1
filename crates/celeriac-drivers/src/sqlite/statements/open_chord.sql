UPDATE chord SET size = ?2 WHERE name = ?1
