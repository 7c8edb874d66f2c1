-- Everything a holder holds is ready again, less ?2 deliveries.
INSERT INTO ready (queue, rank, number, deliveries)
SELECT queue, rank, number, deliveries - ?2 FROM held WHERE holder = ?1
