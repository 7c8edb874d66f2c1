INSERT INTO queue VALUES (1, 'jobs');
INSERT INTO dead VALUES (1, 1, 9, 'unregistered', 'nobody knows it', 0, 1, 'x', 't',
                         'application/json', X'7b7d', X'5b5d');
