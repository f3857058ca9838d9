-- How far in the primary's log a replica has come: what is committed until there, the next statement sees. NULL when the
-- server is not a replica.
SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END
