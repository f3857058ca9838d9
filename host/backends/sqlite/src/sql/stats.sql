SELECT
    (SELECT count(*) FROM trace WHERE start_time IS NOT NULL),
    (SELECT count(*) FROM event),
    (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size),
    (SELECT min(start_time) FROM trace WHERE start_time IS NOT NULL),
    (SELECT max(start_time) FROM trace WHERE start_time IS NOT NULL)
