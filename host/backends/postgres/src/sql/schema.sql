-- Version 1. Times are nanoseconds since 1970-01-01T00:00:00Z, because PostgreSQL's own times have microseconds. An unsigned
-- number of 64 bits is stored as the signed number with the same bits. Text can't contain U+0000: it is escaped (see `escape.rs`);
-- in JSON it is \u0000. The views `traces` and `trace_events` show readable values.

-- A trace. The columns from flow_id on are NULL until its header is stored. `placed_at` determines the partition of its events:
-- the earliest time known when the trace was first seen. It never changes.
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
    metadata     text COLLATE "C",      -- JSON, including the tags
    tags         jsonb                  -- a copy of the tags for searches; escaped
);

CREATE INDEX trace_by_start ON trace (start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_flow ON trace (flow_id, start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_status ON trace (status, start_time DESC, trace_id) WHERE start_time IS NOT NULL;
CREATE INDEX trace_by_execution ON trace (execution_id) WHERE execution_id IS NOT NULL;
CREATE INDEX trace_by_duration ON trace (duration) WHERE duration IS NOT NULL;
CREATE INDEX trace_by_tag ON trace USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL;
CREATE INDEX trace_by_place ON trace (placed_at);

-- An event. Values that are 0 or empty in nearly every event are NULL then. There is no foreign key to the trace: a writer holds
-- a lock on the traces of its events instead, which costs less per batch.
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
    dependency_chain   bytea,               -- ids of 16 bytes each
    span_uuid          uuid,                -- the span id if it is a UUID as usually written,
    span_text          text COLLATE "C",    -- any other span id
    {key}
){partitions};

CREATE INDEX event_of_error ON event (trace) WHERE kind = 'ActorFailed' OR error IS NOT NULL;

-- One row: the version and the layout of the tables.
CREATE TABLE schema_version (
    version     integer NOT NULL,
    partitioned boolean NOT NULL
);
INSERT INTO schema_version VALUES (1, {partitioned});
