-- A delayed call that is revoked becomes ready, for a consumer to say that it was.
INSERT INTO ready (queue, rank, number, deliveries)
SELECT queue, rank, number, deliveries FROM delayed WHERE task_id = ?1
