-- The reason why a write would fail, if there is one. Changes nothing and waits for no lock.
SELECT CASE
    WHEN pg_is_in_recovery() THEN 'the PostgreSQL server is a replica, which can''t be written'
    WHEN current_setting('transaction_read_only')::boolean THEN 'the PostgreSQL database is read-only'
    WHEN (SELECT count(*) FROM schema_version) <> 1 THEN 'the table schema_version is empty'
    WHEN NOT (
        has_table_privilege('trace', 'INSERT') AND has_table_privilege('trace', 'UPDATE')
        AND has_table_privilege('event', 'INSERT')
    ) THEN 'the user may not write into the tables trace and event'
END
