-- Which hosts receive which traces now. Hosts create these tables when they open the file; they hold nothing that lasts, so they are
-- not part of the stored format. Times are nanoseconds since 1970.

CREATE TABLE IF NOT EXISTS lease (
    host       BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS held (
    trace_id BLOB NOT NULL,
    host     BLOB NOT NULL,
    PRIMARY KEY (trace_id, host)
) STRICT, WITHOUT ROWID;
