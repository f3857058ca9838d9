SELECT
    (SELECT count(*) FROM trace WHERE start_time IS NOT NULL),
    (SELECT count(*) FROM event WHERE (SELECT oid FROM pg_class WHERE oid = 0) IS NULL), -- see catalog.rs
    pg_total_relation_size('trace') + pg_total_relation_size('event') + (
        SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint
        FROM pg_partition_tree('event') WHERE isleaf AND relid <> 'event'::regclass
    ),
    (SELECT min(start_time) FROM trace WHERE start_time IS NOT NULL),
    (SELECT max(start_time) FROM trace WHERE start_time IS NOT NULL)
