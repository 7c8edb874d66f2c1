-- ?1 is now: a delayed message whose time has come could be delivered.
SELECT name,
       (SELECT count(*) FROM ready WHERE ready.queue = queue.number)
         + (SELECT count(*) FROM delayed WHERE delayed.queue = queue.number AND due_ms <= ?1),
       (SELECT count(*) FROM delayed WHERE delayed.queue = queue.number AND due_ms > ?1),
       (SELECT count(*) FROM held WHERE held.queue = queue.number),
       (SELECT count(*) FROM dead WHERE dead.queue = queue.number)
FROM queue ORDER BY name
