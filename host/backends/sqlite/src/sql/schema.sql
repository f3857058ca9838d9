-- Version 1. Times are nanoseconds since 1970-01-01T00:00:00Z, ids the 16 bytes of a UUID. An unsigned number of 64 bits is
-- stored as the signed number with the same bits. The views `traces` and `trace_events` (views.sql) show readable values.

-- A trace. The columns from flow_id on are NULL until its header is stored.
CREATE TABLE trace (
    seq          INTEGER PRIMARY KEY,
    trace_id     BLOB NOT NULL UNIQUE,
    flow_id      TEXT,
    execution_id BLOB,
    start_time   INTEGER,
    end_time     INTEGER,
    status       TEXT,
    error        TEXT,
    version      TEXT,      -- JSON
    metadata     TEXT       -- JSON, the tags included
) STRICT;

CREATE INDEX trace_by_start ON trace (start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_flow ON trace (flow_id, start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_execution ON trace (execution_id) WHERE execution_id IS NOT NULL;

-- A copy of the tags, for searches.
CREATE TABLE tag (
    trace INTEGER NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, name)
) STRICT, WITHOUT ROWID;

-- Clustered by the sequence number of the trace, then by time, so that events of the same time are stored together although
-- ids are random, and are read in order.
-- Values that are 0 or empty in nearly every event are NULL then.
CREATE TABLE event (
    trace              INTEGER NOT NULL,
    timestamp          INTEGER NOT NULL,
    event_id           BLOB NOT NULL,
    kind               TEXT NOT NULL,
    actor              TEXT NOT NULL,
    to_actor           TEXT,            -- of a DataFlow
    to_port            TEXT,
    port               TEXT,
    error              TEXT,
    message_type       TEXT,            -- NULL without a message
    message_size       INTEGER,
    message_checksum   TEXT,
    message_data       BLOB,
    state_kind         TEXT,            -- NULL without a change of state
    state_before       BLOB,
    state_after        BLOB,
    execution_time_ns  INTEGER,
    memory_usage_bytes INTEGER,
    cpu_usage_percent  ANY,             -- REAL would lose the sign of -0.0
    queue_depth        INTEGER,
    throughput         ANY,
    attributes         TEXT,            -- JSON
    parent_event_id    BLOB,
    root_event_id      BLOB NOT NULL,
    dependency_chain   BLOB,            -- ids, one after another
    span_id            ANY NOT NULL,    -- 16 bytes when it is a UUID as usually written, text otherwise
    PRIMARY KEY (trace, timestamp, event_id)
) STRICT, WITHOUT ROWID;
