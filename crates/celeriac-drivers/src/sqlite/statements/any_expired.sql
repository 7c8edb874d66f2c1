SELECT EXISTS (SELECT 1 FROM result WHERE expires_us <= ?1)
