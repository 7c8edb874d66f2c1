DELETE FROM message WHERE number IN (SELECT number FROM delayed WHERE queue = ?1)
