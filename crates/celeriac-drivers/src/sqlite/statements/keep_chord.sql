INSERT INTO chord (name, size, counted, closed, claimant, claimed_ms, expires_ms)
VALUES (?1, NULL, 0, 0, '', 0, ?2)
ON CONFLICT (name) DO UPDATE SET expires_ms = excluded.expires_ms
