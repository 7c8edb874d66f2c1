SELECT EXISTS (SELECT 1 FROM result WHERE expires_us <= ?1)
    OR EXISTS (SELECT 1 FROM chord WHERE expires_ms <= ?2)
