DELETE FROM message WHERE number IN (SELECT number FROM ready WHERE queue = ?1)
