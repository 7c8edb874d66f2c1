INSERT INTO held (number, holder, queue, rank, deliveries)
SELECT number, -1, queue, rank, 1 FROM ready LIMIT 1;
