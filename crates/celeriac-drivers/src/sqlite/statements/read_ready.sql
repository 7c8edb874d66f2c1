-- The oldest messages of one queue and rank. A body over the limit is not even read.
SELECT ready.number, deliveries, content_type, headers,
       CASE WHEN length(body) <= ?4 THEN body END
FROM ready JOIN message ON message.number = ready.number
WHERE queue = ?1 AND rank = ?2 ORDER BY ready.number LIMIT ?3
