-- Times are nanoseconds since 1970-01-01T00:00:00Z, ids the 16 bytes of a UUID. Texts that users choose are the bytes of
-- their UTF-8: TEXT can't hold `\u0000`, and bytes compare as bytes whatever the collation. For people:
-- convert_from(flow_id, 'UTF8').

-- All of this is one transaction. Instances that open at the same time take turns.
SET LOCAL client_min_messages = warning;
SELECT pg_advisory_xact_lock(7165890463621442418);

CREATE TABLE IF NOT EXISTS trace (
    trace_id     BYTEA PRIMARY KEY,
    flow_id      BYTEA NOT NULL,
    execution_id BYTEA NOT NULL,
    start_time   BIGINT NOT NULL,
    end_time     BIGINT,
    status       TEXT COLLATE "C" NOT NULL,
    error        BYTEA,
    body         BYTEA NOT NULL
);

CREATE INDEX IF NOT EXISTS trace_by_start ON trace (start_time DESC, trace_id);
CREATE INDEX IF NOT EXISTS trace_by_flow ON trace (flow_id, start_time DESC, trace_id);
CREATE INDEX IF NOT EXISTS trace_by_execution ON trace (execution_id);

-- Names may be longer than an index takes. That they are unique is up to who writes: under the lock of the trace's row.
CREATE TABLE IF NOT EXISTS tag (
    trace_id BYTEA NOT NULL,
    name     BYTEA NOT NULL,
    value    BYTEA NOT NULL
);

CREATE INDEX IF NOT EXISTS tag_by_trace ON tag (trace_id);

CREATE TABLE IF NOT EXISTS event (
    trace_id  BYTEA NOT NULL,
    timestamp BIGINT NOT NULL,
    event_id  BYTEA NOT NULL,
    kind      TEXT COLLATE "C" NOT NULL,
    actor     BYTEA NOT NULL,
    error     BYTEA,
    body      BYTEA NOT NULL,
    PRIMARY KEY (trace_id, timestamp, event_id)
);

-- The version of all this, which tells the plugin whether it knows these tables. Made last.
CREATE TABLE IF NOT EXISTS layout (version BIGINT PRIMARY KEY);
INSERT INTO layout (version) VALUES (1) ON CONFLICT DO NOTHING;
