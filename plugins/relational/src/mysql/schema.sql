-- Times are nanoseconds since 1970-01-01T00:00:00Z, ids the 16 bytes of a UUID. Texts that users choose are the bytes of
-- their UTF-8: they compare as bytes, whatever the collation, with the spaces at their ends. For people:
-- CONVERT(flow_id USING utf8mb4). Names of flows and actors have 1,024 bytes at most.

CREATE TABLE IF NOT EXISTS trace (
    trace_id     BINARY(16) PRIMARY KEY,
    flow_id      VARBINARY(1024) NOT NULL,
    execution_id BINARY(16) NOT NULL,
    start_time   BIGINT NOT NULL,
    end_time     BIGINT,
    status       VARBINARY(64) NOT NULL,
    error        LONGBLOB,
    body         LONGBLOB NOT NULL,
    INDEX trace_by_start (start_time DESC, trace_id),
    INDEX trace_by_flow (flow_id, start_time DESC, trace_id),
    INDEX trace_by_execution (execution_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Names may be longer than an index takes. That they are unique is up to who writes: under the lock of the trace's row.
CREATE TABLE IF NOT EXISTS tag (
    trace_id BINARY(16) NOT NULL,
    name     LONGBLOB NOT NULL,
    value    LONGBLOB NOT NULL,
    INDEX tag_by_trace (trace_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Clustered by trace, then by time: what is read together lies together, in the order in which it is read.
CREATE TABLE IF NOT EXISTS event (
    trace_id  BINARY(16) NOT NULL,
    timestamp BIGINT NOT NULL,
    event_id  BINARY(16) NOT NULL,
    kind      VARBINARY(64) NOT NULL,
    actor     VARBINARY(1024) NOT NULL,
    error     LONGBLOB,
    body      LONGBLOB NOT NULL,
    PRIMARY KEY (trace_id, timestamp, event_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The version of all this, which tells the plugin whether it knows these tables. Made last.
CREATE TABLE IF NOT EXISTS layout (version BIGINT PRIMARY KEY) ENGINE = InnoDB;
INSERT IGNORE INTO layout (version) VALUES (1);
