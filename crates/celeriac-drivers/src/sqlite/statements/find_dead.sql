SELECT queue, rank FROM dead WHERE number = ?1 AND reason <> 'malformed'
