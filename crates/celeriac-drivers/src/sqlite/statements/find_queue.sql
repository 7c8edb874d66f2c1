SELECT number FROM queue WHERE name = ?1
