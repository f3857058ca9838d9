BEGIN;
CREATE SCHEMA IF NOT EXISTS "tracing";
SET LOCAL search_path TO "tracing";

-- Version 1. Times are nanoseconds since 1970-01-01T00:00:00Z, because PostgreSQL's own end at microseconds. 64-bit numbers
-- without a sign are the bits of one with a sign. A text can't hold U+0000: where it stands for any text, it is escaped
-- (see `escape.rs`); in JSON it is \u0000. `traces` and `trace_events` show all of it in words.

-- A trace. Everything from flow_id on is NULL while only events are known of it. `placed_at` says in which partition its
-- events are: when it starts as far as was known when it was first seen; it never changes.
CREATE TABLE trace (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trace_id     uuid NOT NULL UNIQUE,
    placed_at    bigint NOT NULL,
    flow_id      text COLLATE "C",
    execution_id uuid,
    start_time   bigint,
    end_time     bigint,
    duration     bigint,
    status       text COLLATE "C",
    error        text COLLATE "C",
    version      text COLLATE "C",      -- JSON
    metadata     text COLLATE "C",      -- JSON, the tags included
    tags         jsonb                  -- the tags again, to search by; escaped
);

CREATE INDEX trace_by_start ON trace (start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_flow ON trace (flow_id, start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_status ON trace (status, start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_execution ON trace (execution_id) WHERE execution_id IS NOT NULL;
CREATE INDEX trace_by_duration ON trace (duration) WHERE duration IS NOT NULL;
CREATE INDEX trace_by_tag ON trace USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL;
CREATE INDEX trace_by_place ON trace (placed_at);

-- An event. What is 0 or empty in nearly every event is NULL then. It belongs to a trace without a foreign key: whoever
-- stores events holds a lock on their traces, which says the same for a whole batch at once.
CREATE TABLE event (
    trace              bigint NOT NULL,
    placed_at          bigint NOT NULL,     -- as in `trace`
    occurred_at        bigint NOT NULL,
    event_id           uuid NOT NULL,
    kind               text COLLATE "C" NOT NULL,
    actor              text COLLATE "C" NOT NULL,
    to_actor           text COLLATE "C",    -- of a DataFlow
    to_port            text COLLATE "C",
    port               text COLLATE "C",
    error              text COLLATE "C",
    message_type       text COLLATE "C",    -- NULL without a message
    message_size       bigint,
    message_checksum   text COLLATE "C",
    message_data       bytea,
    state_kind         text COLLATE "C",    -- NULL without a change of state
    state_before       bytea,
    state_after        bytea,
    execution_time_ns  bigint,
    memory_usage_bytes bigint,
    cpu_usage_percent  real,
    queue_depth        bigint,
    throughput         double precision,
    attributes         text COLLATE "C",    -- JSON
    parent_event_id    uuid,
    root_event_id      uuid NOT NULL,
    dependency_chain   bytea,               -- ids, one after another
    span_uuid          uuid,                -- the span id when it is a UUID as usually written,
    span_text          text COLLATE "C",    -- any other
    PRIMARY KEY (trace, occurred_at, event_id)
);

CREATE INDEX event_of_error ON event (trace) WHERE kind = 'ActorFailed' OR error IS NOT NULL;

-- One row: what this program has to know of the tables.
CREATE TABLE schema_version (
    version     integer NOT NULL,
    partitioned boolean NOT NULL
);
INSERT INTO schema_version VALUES (1, false);

-- For people: the columns that one expects, times as timestamptz, JSON as jsonb.

CREATE FUNCTION moment(nanoseconds bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT timestamptz 'epoch' + (nanoseconds / 1000) * interval '1 microsecond' $$;

-- jsonb has no U+0000; the replacement character stands for it.
CREATE FUNCTION shown(json text) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT replace(json, '\u0000', '\ufffd')::jsonb $$;

-- The number without a sign whose bits these are.
CREATE FUNCTION unsigned(bits bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN bits < 0 THEN bits + 18446744073709551616 ELSE coalesce(bits, 0) END $$;

CREATE VIEW traces AS
SELECT
    trace_id,
    flow_id,
    execution_id,
    moment(start_time) AS start_time,
    moment(end_time) AS end_time,
    status,
    shown(metadata) AS metadata,
    error,
    shown(version) AS version,
    duration / 1e6 AS duration_ms,
    start_time AS start_time_ns,
    end_time AS end_time_ns
FROM trace
WHERE start_time IS NOT NULL;

CREATE VIEW trace_events AS
SELECT
    event.event_id,
    trace.trace_id,
    moment(event.occurred_at) AS "timestamp",
    event.kind AS event_type,
    event.actor AS actor_id,
    jsonb_build_object(
        'port', event.port,
        'message', CASE WHEN event.message_type IS NOT NULL THEN jsonb_build_object(
            'message_type', event.message_type, 'size_bytes', unsigned(event.message_size),
            'checksum', coalesce(event.message_checksum, ''),
            'serialized_data_hex', encode(coalesce(event.message_data, ''), 'hex')) END,
        'state_diff', CASE WHEN event.state_kind IS NOT NULL THEN jsonb_build_object(
            'before_hex', encode(event.state_before, 'hex'), 'after_hex', encode(event.state_after, 'hex'),
            'diff_type', event.state_kind) END,
        'error', event.error,
        'performance_metrics', jsonb_build_object(
            'execution_time_ns', unsigned(event.execution_time_ns),
            'memory_usage_bytes', unsigned(event.memory_usage_bytes),
            'cpu_usage_percent', coalesce(event.cpu_usage_percent, 0),
            'queue_depth', unsigned(event.queue_depth),
            'throughput_msgs_per_sec', coalesce(event.throughput, 0)),
        'custom_attributes', coalesce(shown(event.attributes), '{}')) AS data,
    trace.flow_id,
    event.port,
    event.to_actor,
    event.to_port,
    event.error,
    event.message_type,
    unsigned(event.message_size) AS message_size,
    unsigned(event.execution_time_ns) AS execution_time_ns,
    unsigned(event.memory_usage_bytes) AS memory_usage_bytes,
    coalesce(event.cpu_usage_percent, 0) AS cpu_usage_percent,
    unsigned(event.queue_depth) AS queue_depth,
    coalesce(event.throughput, 0) AS throughput_msgs_per_sec,
    coalesce(event.span_uuid::text, event.span_text) AS span_id,
    event.parent_event_id,
    shown(event.attributes) AS attributes,
    event.occurred_at AS timestamp_ns
FROM event
JOIN trace ON trace.seq = event.trace AND trace.placed_at = event.placed_at
WHERE (SELECT oid FROM pg_class WHERE oid = 0) IS NULL; -- always so; by this a session sees new partitions
COMMIT;
