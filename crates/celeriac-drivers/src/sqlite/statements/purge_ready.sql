DELETE FROM ready WHERE queue = ?1
