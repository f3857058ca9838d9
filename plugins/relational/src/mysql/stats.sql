SELECT
    (SELECT count(*) FROM trace),
    (SELECT count(*) FROM event),
    (SELECT CAST(sum(data_length + index_length) AS SIGNED) FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_name IN ('trace', 'tag', 'event')),
    (SELECT min(start_time) FROM trace),
    (SELECT max(start_time) FROM trace)
