-- Schema 1. A message is in exactly one of `ready`, `delayed` and `held`; its row in `message`
-- never changes between publishing and settling, so that claiming one rewrites no body.

CREATE TABLE pulse (
    -- One row. `sequence` is the last number given to anything; the others count the commits that
    -- made news of their kind, so that a process that was woken knows for whom.
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    sequence INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    results  INTEGER NOT NULL,
    revoked  INTEGER NOT NULL
) STRICT;
INSERT INTO pulse VALUES (1, 0, 0, 0, 0);

CREATE TABLE queue (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE message (
    number       INTEGER PRIMARY KEY,
    task_id      TEXT,
    task         TEXT,
    content_type TEXT NOT NULL,
    headers      BLOB NOT NULL,
    body         BLOB NOT NULL
) STRICT;

-- `rank` is 9 less the priority, so that ascending order is delivery order.
CREATE TABLE ready (
    queue      INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (queue, rank, number)
) STRICT, WITHOUT ROWID;

-- `due_ms` is wall-clock time since 1970. `task_id` is the message's, to find what is revoked.
CREATE TABLE delayed (
    due_ms     INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    queue      INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    task_id    TEXT,
    PRIMARY KEY (due_ms, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX delayed_by_task ON delayed (task_id);

CREATE TABLE held (
    number     INTEGER PRIMARY KEY,
    holder     INTEGER NOT NULL,
    queue      INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    deliveries INTEGER NOT NULL
) STRICT;

-- `heartbeat_ms` is time since boot, suspension included, and means nothing under another boot id.
CREATE TABLE holder (
    number        INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    queues        TEXT NOT NULL,
    pid           INTEGER NOT NULL,
    start_ticks   INTEGER NOT NULL,
    pid_namespace INTEGER NOT NULL,
    boot_id       TEXT NOT NULL,
    lease_ms      INTEGER NOT NULL,
    started_ms    INTEGER NOT NULL,
    heartbeat_ms  INTEGER NOT NULL
) STRICT;

-- `number` grows with every change of state, so that watchers read on from where they were.
CREATE TABLE result (
    number       INTEGER PRIMARY KEY,
    task_id      TEXT NOT NULL UNIQUE,
    task         TEXT NOT NULL,
    state        TEXT NOT NULL,
    final        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    stored_us    INTEGER NOT NULL,
    expires_us   INTEGER NOT NULL,
    progress     TEXT,
    error        TEXT,
    content_type TEXT,
    value        BLOB
) STRICT;
CREATE INDEX result_by_expiry ON result (expires_us);

CREATE TABLE dead (
    number       INTEGER PRIMARY KEY,
    queue        INTEGER NOT NULL,
    rank         INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    detail       TEXT NOT NULL,
    died_ms      INTEGER NOT NULL,
    deliveries   INTEGER NOT NULL,
    task_id      TEXT,
    task         TEXT,
    content_type TEXT NOT NULL,
    headers      BLOB NOT NULL,
    body         BLOB NOT NULL
) STRICT;

CREATE TABLE revoked (
    number     INTEGER PRIMARY KEY,
    task_id    TEXT NOT NULL UNIQUE,
    revoked_ms INTEGER NOT NULL
) STRICT;
