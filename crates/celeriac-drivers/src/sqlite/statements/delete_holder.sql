DELETE FROM holder WHERE number = ?1
