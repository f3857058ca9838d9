-- Version 1. Writes that wait until the backend is back, in the order in which they came.
CREATE TABLE record (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    traces   INTEGER NOT NULL,      -- how many there are in it
    events   INTEGER NOT NULL,
    checksum INTEGER NOT NULL,      -- CRC-32 of the body
    body     BLOB NOT NULL
) STRICT;

-- What the backend refused when its turn came: kept for people to look at.
CREATE TABLE refused (
    refused_at TEXT NOT NULL,
    error      TEXT NOT NULL,
    trace_id   TEXT,
    json       TEXT,                -- the event, or the header of a trace
    body       BLOB                 -- a record that can't be read
) STRICT;

-- The backend that the writes are for.
CREATE TABLE target (backend TEXT NOT NULL) STRICT;
