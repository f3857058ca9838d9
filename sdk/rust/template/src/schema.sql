-- Times are nanoseconds since 1970-01-01T00:00:00Z, ids the 16 bytes of a UUID.

-- The headers of traces. `body` is the complete header; the other columns are for searching.
CREATE TABLE IF NOT EXISTS trace (
    trace_id     BLOB PRIMARY KEY,
    flow_id      TEXT NOT NULL,
    execution_id BLOB NOT NULL,
    start_time   INTEGER NOT NULL,
    end_time     INTEGER,
    status       TEXT NOT NULL,
    error        TEXT,
    body         BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trace_by_start ON trace (start_time DESC, trace_id);

CREATE TABLE IF NOT EXISTS tag (
    trace_id BLOB NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (trace_id, name)
) STRICT, WITHOUT ROWID;

-- Events, which may arrive before the header of their trace. They are clustered in reading order. The primary key identifies
-- an event, so storing one twice changes nothing.
CREATE TABLE IF NOT EXISTS event (
    trace_id  BLOB NOT NULL,
    timestamp INTEGER NOT NULL,
    event_id  BLOB NOT NULL,
    kind      TEXT NOT NULL,
    actor     TEXT NOT NULL,
    error     TEXT,
    body      BLOB NOT NULL,
    PRIMARY KEY (trace_id, timestamp, event_id)
) STRICT, WITHOUT ROWID;
