UPDATE chord SET claimant = ?4, claimed_ms = ?3
WHERE name = ?1 AND NOT closed AND counted >= size AND (claimed_ms <= ?2 OR claimant = ?4)
