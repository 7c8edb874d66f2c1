DELETE FROM revoked WHERE revoked_ms <= ?1
