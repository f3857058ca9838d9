-- Times are nanoseconds since 1970-01-01T00:00:00Z, ids the 16 bytes of a UUID.

-- A trace. Everything from flow_id on is NULL while only events are known of it.
CREATE TABLE IF NOT EXISTS trace (
    seq          INTEGER PRIMARY KEY,
    trace_id     BLOB NOT NULL UNIQUE,
    flow_id      TEXT,
    execution_id BLOB,
    start_time   INTEGER,
    end_time     INTEGER,
    status       TEXT,
    error        TEXT,
    body         BLOB
) STRICT;

CREATE INDEX IF NOT EXISTS trace_by_start ON trace (start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX IF NOT EXISTS trace_by_flow ON trace (flow_id, start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX IF NOT EXISTS trace_by_execution ON trace (execution_id) WHERE execution_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS tag (
    trace_id BLOB NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (trace_id, name)
) STRICT, WITHOUT ROWID;

-- Clustered by the number of the trace, then by time: what is read together lies together, in the order in which it is
-- read, and what is new comes last. By the trace id itself, which is random, writes would change pages all over the file:
-- half as fast.
CREATE TABLE IF NOT EXISTS event (
    trace     INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    event_id  BLOB NOT NULL,
    kind      TEXT NOT NULL,
    actor     TEXT NOT NULL,
    error     TEXT,
    body      BLOB NOT NULL,
    PRIMARY KEY (trace, timestamp, event_id)
) STRICT, WITHOUT ROWID;

-- The version of all this, which tells the plugin whether it knows these tables. Made last.
CREATE TABLE IF NOT EXISTS layout (version INTEGER PRIMARY KEY) STRICT;
INSERT INTO layout (version) VALUES (1) ON CONFLICT DO NOTHING;
