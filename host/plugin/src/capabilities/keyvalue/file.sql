CREATE TABLE IF NOT EXISTS reflow_keyvalue (
    key BLOB NOT NULL PRIMARY KEY,
    value BLOB NOT NULL,
    -- In milliseconds since 1970; NULL for entries that last for ever.
    expires INTEGER
);
CREATE INDEX IF NOT EXISTS reflow_keyvalue_expires ON reflow_keyvalue (expires) WHERE expires IS NOT NULL;
