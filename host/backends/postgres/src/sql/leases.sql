-- Which hosts receive which traces now. These tables hold nothing that lasts.

CREATE TABLE lease (
    host       uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE TABLE held (
    trace_id uuid,
    host     uuid,
    PRIMARY KEY (trace_id, host)
);

CREATE INDEX held_by_host ON held (host);
