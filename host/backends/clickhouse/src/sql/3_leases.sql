-- Which hosts receive which traces now. These tables hold nothing that lasts; the latest row of a key counts.

-- `is_over`: the host's traces have been ended.
CREATE TABLE IF NOT EXISTS {database}.leases{local}{on_cluster} (
    host       UUID,
    expires_at DateTime64(3, 'UTC'),
    is_over    Bool,
    at         DateTime64(9, 'UTC') DEFAULT now64(9)
) ENGINE = {replicated}ReplacingMergeTree(at)
ORDER BY host
TTL toDateTime(at) + INTERVAL 30 DAY;

-- `holds`: false once the host has left the trace.
CREATE TABLE IF NOT EXISTS {database}.held{local}{on_cluster} (
    trace_id UUID,
    host     UUID,
    holds    Bool,
    at       DateTime64(9, 'UTC') DEFAULT now64(9)
) ENGINE = {replicated}ReplacingMergeTree(at)
ORDER BY (trace_id, host)
TTL toDateTime(at) + INTERVAL 1 DAY DELETE WHERE NOT holds
