UPDATE pulse SET sequence = ?1, messages = ?2, results = ?3, revoked = ?4
