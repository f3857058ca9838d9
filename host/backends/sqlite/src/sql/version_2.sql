-- Version 2: what newer versions of Reflow say. Rows of version 1 have NULL there, which is what they mean.

-- The metrics that were not measured, one bit each: 1 execution_time_ns, 2 memory_usage_bytes, 4 cpu_usage_percent,
-- 8 queue_depth, 16 throughput. NULL when every metric was measured.
ALTER TABLE event ADD COLUMN unmeasured INTEGER;
-- JSON: the fields that the table has no column for, by the part of the event that they belong to.
ALTER TABLE event ADD COLUMN more TEXT;
-- JSON: those of the header. `version` and `metadata` contain their own.
ALTER TABLE trace ADD COLUMN more TEXT;
