-- The size of the file once the log is moved to it, and how much of it is unused.
SELECT page_count * page_size, freelist_count * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size
