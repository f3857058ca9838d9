-- Version 1. Writes that wait for the backend, in the order of arrival.
CREATE TABLE record (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    traces   INTEGER NOT NULL,      -- how many there are in it
    events   INTEGER NOT NULL,
    checksum INTEGER NOT NULL,      -- CRC-32 of the body
    body     BLOB NOT NULL
) STRICT;

-- Writes that the backend rejected, kept for the operator.
CREATE TABLE refused (
    refused_at TEXT NOT NULL,
    error      TEXT NOT NULL,
    trace_id   TEXT,
    json       TEXT,                -- the event, or the header of a trace
    body       BLOB                 -- a record that can't be read
) STRICT;

-- The backend that the writes are for.
CREATE TABLE target (backend TEXT NOT NULL) STRICT;
