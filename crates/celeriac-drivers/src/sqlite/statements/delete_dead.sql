DELETE FROM dead WHERE number = ?1
