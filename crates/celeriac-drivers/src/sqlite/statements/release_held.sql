-- Only its holder can settle a delivery.
DELETE FROM held WHERE number = ?1 AND holder = ?2 RETURNING queue, rank, deliveries
