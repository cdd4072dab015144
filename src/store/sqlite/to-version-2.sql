-- From schema version 1 to 2. Frozen: SQLite keeps the text of a definition, so it stays as it was in that version's schema.sql.

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
