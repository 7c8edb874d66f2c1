INSERT INTO ready (queue, rank, number, deliveries) VALUES (?1, ?2, ?3, ?4)
