DELETE FROM tag WHERE trace = (SELECT seq FROM trace WHERE trace_id = ?)
