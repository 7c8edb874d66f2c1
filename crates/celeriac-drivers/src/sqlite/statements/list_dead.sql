SELECT dead.number, name, reason, detail, died_ms, deliveries, headers, content_type, body
FROM dead JOIN queue ON queue.number = dead.queue ORDER BY died_ms DESC, dead.number DESC LIMIT ?1
