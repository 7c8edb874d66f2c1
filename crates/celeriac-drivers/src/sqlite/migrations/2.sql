-- Schema 2: chords. `counted` is the number of rows in `chord_part`, so that counting reads none;
-- `claimed_ms` is when the claim of `claimant`, who was told last, lapses.

CREATE TABLE chord (
    name       TEXT PRIMARY KEY,
    size       INTEGER,
    counted    INTEGER NOT NULL,
    closed     INTEGER NOT NULL,
    claimant   TEXT NOT NULL,
    claimed_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX chord_by_expiry ON chord (expires_ms);

CREATE TABLE chord_part (
    chord        TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    place        INTEGER NOT NULL,
    state        TEXT NOT NULL,
    error        TEXT,
    content_type TEXT,
    value        BLOB,
    PRIMARY KEY (chord, task_id)
) STRICT, WITHOUT ROWID;
