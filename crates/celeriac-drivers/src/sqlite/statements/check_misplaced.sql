-- Messages that are not in exactly one place, and places without a message.
SELECT count(*) FROM (
    SELECT number FROM (
        SELECT number FROM message
        UNION ALL SELECT number FROM ready
        UNION ALL SELECT number FROM delayed
        UNION ALL SELECT number FROM held)
    GROUP BY number HAVING count(*) <> 2)
