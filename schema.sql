-- The SQLite schema of chat-server, whole: a new file gets exactly this, and every older file is migrated to it.
-- Times are Unix milliseconds. Ids are 1 … 2^53 − 1, what JavaScript holds exactly.

-- 'chat': the file(1) tag by which a chat-server database is told from any other.
PRAGMA application_id = 1667785076;
PRAGMA user_version = 2;

-- What this log is. One row.
CREATE TABLE log (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    -- Names this log: a copy restored from a backup gets another, so that old cursors are recognised.
    epoch      TEXT    NOT NULL,
    -- 'integrated' or 'standalone': who hands out user ids.
    mode       TEXT    NOT NULL CHECK (mode IN ('integrated', 'standalone')),
    -- Written to find out whether the largest message could be stored now.
    probe      BLOB
) STRICT;

CREATE TABLE users (
    id            INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 9007199254740991),
    username      TEXT    NOT NULL CHECK (username <> ''),
    email         TEXT,
    -- argon2id, PHC string format; NULL for guests and for a backend's users.
    password_hash TEXT,
    role          TEXT    NOT NULL DEFAULT 'user',
    -- The name in lower case for built-in accounts, which must be unique; NULL for a backend's users, whose names need not be.
    account_name  TEXT    UNIQUE,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE rooms (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE CHECK (name <> ''),
    description TEXT,
    created_at  INTEGER NOT NULL,
    -- The newest message, 0 and 0 when there is none.
    last_id     INTEGER NOT NULL DEFAULT 0,
    last_seq    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row for each pair of users who talked; low is the smaller id, so that a pair has one spelling.
CREATE TABLE dms (
    low      INTEGER NOT NULL REFERENCES users (id),
    high     INTEGER NOT NULL REFERENCES users (id),
    last_id  INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (low, high),
    CHECK (low <= high)
) STRICT, WITHOUT ROWID;
CREATE INDEX dms_high ON dms (high);

-- The log. AUTOINCREMENT: an id is never used twice, or a cursor could point at another message than it did.
CREATE TABLE messages (
    id        INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 9007199254740991),
    from_user INTEGER NOT NULL REFERENCES users (id),
    to_user   INTEGER REFERENCES users (id),
    room      TEXT    REFERENCES rooms (name),
    content   TEXT    NOT NULL CHECK (content <> ''),
    timestamp INTEGER NOT NULL,
    -- Position in the room or DM conversation: 1 … n without a hole.
    seq       INTEGER NOT NULL CHECK (seq >= 1),
    nonce     TEXT,
    dm_low    INTEGER GENERATED ALWAYS AS (CASE WHEN to_user IS NOT NULL THEN min(from_user, to_user) END) VIRTUAL,
    dm_high   INTEGER GENERATED ALWAYS AS (CASE WHEN to_user IS NOT NULL THEN max(from_user, to_user) END) VIRTUAL,
    CHECK ((room IS NULL) <> (to_user IS NULL))
) STRICT;
-- A page of a room or of a DM pair, by id: the rowid is the last column of every index.
CREATE INDEX messages_room ON messages (room) WHERE room IS NOT NULL;
CREATE INDEX messages_dm ON messages (dm_low, dm_high) WHERE dm_low IS NOT NULL;
-- The same nonce from the same user is the same message.
CREATE UNIQUE INDEX messages_nonce ON messages (from_user, nonce) WHERE nonce IS NOT NULL;

-- Those outside who are told of every message, and how far each has come. One row for each that ever was one.
CREATE TABLE followers (
    name           TEXT    PRIMARY KEY CHECK (name IN ('backend', 'webhook')),
    -- Everything up to here was taken or is parked. Never moves back.
    position       INTEGER NOT NULL CHECK (position BETWEEN 0 AND 9007199254740991),
    -- Since when the next message is not taken, and why; NULL when nothing is known to be wrong.
    failing_since  INTEGER,
    failing_reason TEXT,
    CHECK ((failing_since IS NULL) = (failing_reason IS NULL))
) STRICT, WITHOUT ROWID;

-- What a follower refused for good. Not sent again unless an operator asks for it.
CREATE TABLE parked (
    follower  TEXT    NOT NULL REFERENCES followers (name),
    message   INTEGER NOT NULL REFERENCES messages (id),
    reason    TEXT    NOT NULL,
    since     INTEGER NOT NULL,
    -- 1: an operator asked.
    due_again INTEGER NOT NULL DEFAULT 0 CHECK (due_again IN (0, 1)),
    PRIMARY KEY (follower, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_due ON parked (follower, message) WHERE due_again = 1;
