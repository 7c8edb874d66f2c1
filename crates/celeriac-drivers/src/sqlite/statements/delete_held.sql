DELETE FROM held WHERE number = ?1 AND holder = ?2
