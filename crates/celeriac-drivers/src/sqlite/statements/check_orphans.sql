-- Deliveries held by nobody that is registered.
SELECT count(*) FROM held WHERE holder NOT IN (SELECT number FROM holder)
