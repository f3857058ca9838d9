-- The position in the primary's log that the replica has replayed; the next statement sees everything committed before it.
-- NULL if the server is not a replica.
SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END
