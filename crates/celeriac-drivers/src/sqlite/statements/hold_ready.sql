-- What was just read is held, one more delivery on its count, unless it was delivered too often.
INSERT INTO held (number, holder, queue, rank, deliveries)
SELECT number, ?4, queue, rank, deliveries + 1 FROM ready
WHERE queue = ?1 AND rank = ?2 AND number <= ?3 AND deliveries < ?5
