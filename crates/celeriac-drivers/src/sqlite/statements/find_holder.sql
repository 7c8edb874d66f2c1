SELECT 1 FROM holder WHERE number = ?1
