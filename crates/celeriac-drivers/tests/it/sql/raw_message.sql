INSERT INTO message (number, content_type, headers, body) SELECT sequence, ?1, ?2, ?3 FROM pulse
