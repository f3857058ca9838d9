DELETE FROM event WHERE trace = (SELECT seq FROM trace WHERE trace_id = ?)
