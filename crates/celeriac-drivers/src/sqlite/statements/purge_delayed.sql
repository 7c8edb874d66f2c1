DELETE FROM delayed WHERE queue = ?1
