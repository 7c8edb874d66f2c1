DELETE FROM chord WHERE expires_ms <= ?1
