DELETE FROM chord_part WHERE chord IN (SELECT name FROM chord WHERE expires_ms <= ?1)
