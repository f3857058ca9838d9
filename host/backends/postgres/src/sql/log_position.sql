-- The position in the server's log after everything that this session committed. Without synchronous_commit, the end of that
-- is not on the disk yet.
SELECT pg_wal_lsn_diff(
    CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END,
    '0/0'
)::bigint
