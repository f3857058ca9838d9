SELECT
    pg_total_relation_size('trace') + pg_total_relation_size('event') + (
        SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint
        FROM pg_partition_tree('event') WHERE isleaf AND relid <> 'event'::regclass
    )
