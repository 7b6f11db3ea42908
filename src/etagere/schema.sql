-- Version 3. Long columns come last, so that the others are read without touching overflow pages.

-- Runs that have not ended, in the order of their submission.
CREATE TABLE run (
    id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    queue TEXT NOT NULL,
    created REAL NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    delay REAL NOT NULL,
    started REAL,
    client TEXT NOT NULL DEFAULT '',
    urgency INTEGER NOT NULL DEFAULT 3,
    trace TEXT NOT NULL DEFAULT '',
    uri TEXT NOT NULL
);

-- Outcomes on their way to the collector, as JSON, in the order of their arrival.
CREATE TABLE outcome (
    id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (id, attempt)
);

-- What is known of every resource that has had an outcome.
CREATE TABLE ghost (
    id TEXT NOT NULL UNIQUE,
    digest BLOB,
    seconds REAL,
    model TEXT NOT NULL,
    asked REAL NOT NULL,
    uri TEXT NOT NULL
);
CREATE INDEX ghost_by_asked ON ghost (asked);

-- `file` is the name below the blob directory of a body that is not in `body`. The id of a variant is that of its
-- resource, a dot, and the name of its format and coding.
CREATE TABLE representation (
    id TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    media_type TEXT NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    created REAL NOT NULL,
    seconds REAL NOT NULL,
    used REAL NOT NULL,
    kept_until REAL NOT NULL,
    file TEXT,
    mtime_ns INTEGER NOT NULL,
    accepted REAL NOT NULL,
    attempt INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX representation_by_used ON representation (used);
CREATE INDEX representation_by_file ON representation (file) WHERE file IS NOT NULL;

-- Apart from its representation, so that noting the use of one does not copy the other.
CREATE TABLE body (
    id TEXT NOT NULL UNIQUE,
    content BLOB NOT NULL
);

-- `facts` is what a problem document says besides, a JSON object.
CREATE TABLE failure (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    created REAL NOT NULL,
    seconds REAL NOT NULL,
    expires REAL NOT NULL,
    attempt INTEGER NOT NULL,
    accepted REAL NOT NULL,
    detail TEXT NOT NULL,
    facts TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX failure_by_expires ON failure (expires);

-- The hash of each model's source when its version was first served, and who could ask for it when it was last.
CREATE TABLE source (
    model TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    access TEXT NOT NULL DEFAULT 'open'
) WITHOUT ROWID;

-- When each client will have its whole quota of new runs back (seconds since the epoch).
CREATE TABLE quota (
    client TEXT PRIMARY KEY,
    whole REAL NOT NULL
) WITHOUT ROWID;

-- Running totals, kept by triggers so that a rollback takes them along.
CREATE TABLE total (
    bytes INTEGER NOT NULL,
    ghosts INTEGER NOT NULL
);
INSERT INTO total VALUES (0, 0);

CREATE TRIGGER representation_kept AFTER INSERT ON representation
BEGIN UPDATE total SET bytes = bytes + new.size; END;

CREATE TRIGGER representation_dropped AFTER DELETE ON representation
BEGIN
    UPDATE total SET bytes = bytes - old.size;
    DELETE FROM body WHERE id = old.id;
END;

-- A long URI counts as several, so that a million of the longest do not fill the disk.
CREATE TRIGGER ghost_kept AFTER INSERT ON ghost
BEGIN UPDATE total SET ghosts = ghosts + 1 + length(new.uri) / 16384; END;

CREATE TRIGGER ghost_dropped AFTER DELETE ON ghost
BEGIN UPDATE total SET ghosts = ghosts - 1 - length(old.uri) / 16384; END;

-- What the last attempt of a resource that said anything has left for operators, in the order of its arrival.
CREATE TABLE printed (
    id TEXT NOT NULL UNIQUE,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    finished REAL NOT NULL,
    size INTEGER NOT NULL,
    traceback TEXT NOT NULL,
    output TEXT NOT NULL
);

CREATE TABLE printed_total (
    bytes INTEGER NOT NULL
);
INSERT INTO printed_total VALUES (0);

CREATE TRIGGER printed_kept AFTER INSERT ON printed
BEGIN UPDATE printed_total SET bytes = bytes + new.size; END;

CREATE TRIGGER printed_dropped AFTER DELETE ON printed
BEGIN UPDATE printed_total SET bytes = bytes - old.size; END;

CREATE TRIGGER printed_forgotten AFTER DELETE ON ghost
BEGIN DELETE FROM printed WHERE id = old.id; END;

-- How long the last runs of each model took, in seconds, as a JSON array; in the order in which they were noted.
CREATE TABLE history (
    model TEXT NOT NULL UNIQUE,
    seconds TEXT NOT NULL
);

-- Resources whose last new run gave other bytes than there were, with the digest of either; no longer than their ghosts.
CREATE TABLE difference (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    first BLOB NOT NULL,
    later BLOB NOT NULL,
    seen REAL NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER difference_dropped AFTER DELETE ON ghost
BEGIN DELETE FROM difference WHERE id = old.id; END;

-- How many representations there are, variants included.
CREATE TABLE representation_total (
    number INTEGER NOT NULL
);
INSERT INTO representation_total VALUES (0);

CREATE TRIGGER representation_counted AFTER INSERT ON representation
BEGIN UPDATE representation_total SET number = number + 1; END;

CREATE TRIGGER representation_uncounted AFTER DELETE ON representation
BEGIN UPDATE representation_total SET number = number - 1; END;
