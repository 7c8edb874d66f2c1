SELECT count(*) FROM held WHERE holder = ?1 AND deliveries > 1
