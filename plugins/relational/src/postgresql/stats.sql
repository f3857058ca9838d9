SELECT
    (SELECT count(*) FROM trace),
    (SELECT count(*) FROM event),
    (SELECT CAST(sum(pg_total_relation_size(name::regclass)) AS BIGINT) FROM unnest(ARRAY['trace', 'tag', 'event']) AS name),
    (SELECT min(start_time) FROM trace),
    (SELECT max(start_time) FROM trace)
