-- Delayed messages whose time has come become ready, the first few of them.
INSERT INTO ready (queue, rank, number, deliveries)
SELECT queue, rank, number, deliveries FROM delayed WHERE due_ms <= ?1 ORDER BY due_ms, number LIMIT ?2
