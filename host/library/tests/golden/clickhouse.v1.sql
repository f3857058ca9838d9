CREATE DATABASE IF NOT EXISTS `tracing`;

-- Times are exact to the nanosecond. No read relies on merges: of a row that was stored twice, reads pick the one
-- that counts by `rank` or `stored_at`.

-- The header of a trace, once for every time that it was stored: the latest by `stored_at`, the server's time, counts.
CREATE TABLE IF NOT EXISTS `tracing`.traces (
    start_time   DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    trace_id     UUID CODEC(NONE),
    flow_id      LowCardinality(String),
    execution_id UUID CODEC(NONE),
    end_time     Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    duration_ns  Nullable(Int64) CODEC(ZSTD(1)),
    status       LowCardinality(String),
    error        String CODEC(ZSTD(1)),
    version      String CODEC(ZSTD(1)),              -- JSON
    metadata     String CODEC(ZSTD(1)),              -- JSON, the tags included
    tags         Map(String, String) CODEC(ZSTD(1)), -- again, to search by
    stored_at    DateTime64(9, 'UTC') DEFAULT now64(9) CODEC(Delta, ZSTD(1)),
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_execution execution_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_flow flow_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_status status TYPE set(8) GRANULARITY 1,
    INDEX by_tag mapValues(tags) TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toYYYYMM(start_time)
ORDER BY (start_time, trace_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000;

-- An event. Its trace, time and id identify it; the one that was stored first counts, which has the greatest `rank`.
CREATE TABLE IF NOT EXISTS `tracing`.events (
    trace_id                UUID CODEC(ZSTD(1)),
    timestamp               DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id                UUID CODEC(NONE),
    event_type              LowCardinality(String),
    actor_id                LowCardinality(String),
    to_actor                LowCardinality(String),           -- of a DataFlow
    to_port                 LowCardinality(String),
    port                    LowCardinality(Nullable(String)),
    error                   Nullable(String) CODEC(ZSTD(1)),
    message_type            LowCardinality(Nullable(String)), -- NULL without a message
    message_size            UInt64 CODEC(T64, ZSTD(1)),
    message_checksum        String CODEC(ZSTD(1)),
    message_data            String CODEC(ZSTD(1)),
    state_kind              LowCardinality(String),           -- '' without a change of state
    state_before            Nullable(String) CODEC(ZSTD(1)),
    state_after             String CODEC(ZSTD(1)),
    execution_time_ns       UInt64 CODEC(T64, ZSTD(1)),
    memory_usage_bytes      UInt64 CODEC(T64, ZSTD(1)),
    cpu_usage_percent       Float32 CODEC(ZSTD(1)),
    queue_depth             UInt64 CODEC(T64, ZSTD(1)),
    throughput_msgs_per_sec Float64 CODEC(ZSTD(1)),
    attributes              String CODEC(ZSTD(1)),            -- JSON, '' for none
    parent_event_id         Nullable(UUID) CODEC(ZSTD(1)),
    root_event_id           UUID CODEC(NONE),
    dependency_chain        Array(UUID) CODEC(ZSTD(1)),
    span_uuid               UUID CODEC(NONE),                 -- the span id when it is a UUID as usually written,
    span_text               String CODEC(ZSTD(1)),            -- any other
    repeated                Bool CODEC(ZSTD(1)),              -- known to be stored already: not to be counted again
    rank                    UInt64 DEFAULT bitNot(toUInt64(toUnixTimestamp64Nano(now64(9)))) CODEC(Delta, ZSTD(1)),
    span_id                 String ALIAS if(span_uuid = toUUID('00000000-0000-0000-0000-000000000000'), span_text, toString(span_uuid)),
    INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMMDD(timestamp)
ORDER BY (trace_id, timestamp, event_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

-- When a trace started, and from when to when its events happened, in nanoseconds since 1970: bounds, never too narrow. What
-- is not known is an empty span.
CREATE TABLE IF NOT EXISTS `tracing`.trace_lookup (
    trace_id    UUID,
    starts_from SimpleAggregateFunction(min, Int64) CODEC(ZSTD(1)),
    starts_to   SimpleAggregateFunction(max, Int64) CODEC(ZSTD(1)),
    events_from SimpleAggregateFunction(min, Int64) CODEC(ZSTD(1)),
    events_to   SimpleAggregateFunction(max, Int64) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree
ORDER BY trace_id
SETTINGS index_granularity = 512, non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS `tracing`.traces_to_lookup TO `tracing`.trace_lookup AS
SELECT
    trace_id,
    min(toUnixTimestamp64Nano(start_time)) AS starts_from,
    max(toUnixTimestamp64Nano(start_time)) AS starts_to,
    toInt64(9223372036854775807) AS events_from,
    toInt64(-9223372036854775808) AS events_to
FROM `tracing`.traces
GROUP BY trace_id;

CREATE MATERIALIZED VIEW IF NOT EXISTS `tracing`.events_to_lookup TO `tracing`.trace_lookup AS
SELECT
    trace_id,
    toInt64(9223372036854775807) AS starts_from,
    toInt64(-9223372036854775808) AS starts_to,
    min(toUnixTimestamp64Nano(timestamp)) AS events_from,
    max(toUnixTimestamp64Nano(timestamp)) AS events_to
FROM `tracing`.events
GROUP BY trace_id;

-- What happened in each minute.
CREATE TABLE IF NOT EXISTS `tracing`.event_metrics (
    minute                   DateTime64(0, 'UTC'),
    actor_id                 LowCardinality(String),
    event_type               LowCardinality(String),
    events                   SimpleAggregateFunction(sum, UInt64),
    message_bytes            SimpleAggregateFunction(sum, UInt64),
    avg_execution_time       AggregateFunction(avg, Float64),
    max_execution_time       SimpleAggregateFunction(max, UInt64),
    quantiles_execution_time AggregateFunction(quantilesTDigest(0.5, 0.9, 0.95, 0.99), UInt64)
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, actor_id, event_type)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS `tracing`.events_to_metrics TO `tracing`.event_metrics AS
SELECT
    toDateTime64(fromUnixTimestamp64Nano(
        toUnixTimestamp64Nano(timestamp) - positiveModulo(toUnixTimestamp64Nano(timestamp), 60000000000), 'UTC'
    ), 0, 'UTC') AS minute,
    actor_id,
    event_type,
    count() AS events,
    sum(message_size) AS message_bytes,
    avgState(toFloat64(execution_time_ns)) AS avg_execution_time,
    max(execution_time_ns) AS max_execution_time,
    quantilesTDigestState(0.5, 0.9, 0.95, 0.99)(execution_time_ns) AS quantiles_execution_time
FROM `tracing`.events
WHERE NOT repeated
GROUP BY minute, actor_id, event_type;

-- What this program has to know of the tables: the last row.
CREATE TABLE IF NOT EXISTS `tracing`.schema_version (
    version        UInt32,
    retention_days UInt32,
    at             DateTime64(9, 'UTC') DEFAULT now64(9)
) ENGINE = MergeTree
ORDER BY at;

INSERT INTO `tracing`.schema_version (version, retention_days) VALUES (1, 0);

