DELETE FROM held WHERE holder = ?1
