DELETE FROM result WHERE number IN (SELECT number FROM result WHERE expires_us <= ?1 LIMIT ?2)
