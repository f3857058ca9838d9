-- What newer versions of Reflow say. Rows from before have 0 and '' there, which is what they mean.

-- `unmeasured`: the metrics that were not measured, one bit each: 1 execution_time_ns, 2 memory_usage_bytes,
-- 4 cpu_usage_percent, 8 queue_depth, 16 throughput_msgs_per_sec. `more`: JSON, the fields that the table has no column for,
-- by the part of the event that they belong to; '' for none.
ALTER TABLE {database}.events{local}{on_cluster}
    ADD COLUMN IF NOT EXISTS unmeasured UInt8 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS more String CODEC(ZSTD(1));

-- Those of the header; `version` and `metadata` contain their own.
ALTER TABLE {database}.traces{local}{on_cluster} ADD COLUMN IF NOT EXISTS more String CODEC(ZSTD(1));

-- On a cluster, these are other tables.
ALTER TABLE {database}.events{on_cluster}
    ADD COLUMN IF NOT EXISTS unmeasured UInt8,
    ADD COLUMN IF NOT EXISTS more String;

ALTER TABLE {database}.traces{on_cluster} ADD COLUMN IF NOT EXISTS more String;

-- An execution time that was not measured does not count as 0.
ALTER TABLE {database}.events_to_metrics{local}{on_cluster} MODIFY QUERY
SELECT
    toDateTime64(fromUnixTimestamp64Nano(
        toUnixTimestamp64Nano(timestamp) - positiveModulo(toUnixTimestamp64Nano(timestamp), 60000000000), 'UTC'
    ), 0, 'UTC') AS minute,
    actor_id,
    event_type,
    count() AS events,
    sum(message_size) AS message_bytes,
    avgStateIf(toFloat64(execution_time_ns), bitAnd(unmeasured, 1) = 0) AS avg_execution_time,
    max(execution_time_ns) AS max_execution_time,
    quantilesTDigestStateIf(0.5, 0.9, 0.95, 0.99)(execution_time_ns, bitAnd(unmeasured, 1) = 0) AS quantiles_execution_time
FROM {database}.events{local}
WHERE NOT repeated
GROUP BY minute, actor_id, event_type
