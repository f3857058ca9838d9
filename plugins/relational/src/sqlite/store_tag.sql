INSERT INTO tag (trace, name, value)
SELECT seq, ?2, ?3 FROM trace WHERE trace_id = ?1
