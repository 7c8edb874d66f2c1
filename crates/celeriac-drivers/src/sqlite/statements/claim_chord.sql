UPDATE chord SET claimed_ms = ?3
WHERE name = ?1 AND NOT closed AND counted >= size AND claimed_ms <= ?2
