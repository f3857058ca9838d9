-- Where in its log the server has all that this session committed. A session that does not wait for the disk has committed
-- what is not there yet.
SELECT pg_wal_lsn_diff(
    CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END,
    '0/0'
)::bigint
