INSERT INTO ready (queue, rank, number, deliveries)
SELECT queue.number, 9, sequence, 0 FROM pulse, queue WHERE name = ?1
