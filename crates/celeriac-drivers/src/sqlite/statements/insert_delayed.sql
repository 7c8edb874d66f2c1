INSERT INTO delayed (queue, rank, number, deliveries, due_ms) VALUES (?1, ?2, ?3, ?4, ?5)
