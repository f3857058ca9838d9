//! Deletes what a policy does not keep, on any backend.
//!
//! What the backend keeps in parts by time (PostgreSQL's partitions) is dropped by the part, which costs next to nothing; the
//! rest is deleted trace by trace, the oldest first, in bites. After each bite there is a pause as long as the bite took, so
//! that writers have the store for half of the time at least.
//!
//! A trace that is being written is left alone, whatever its age: one without an end that had an event within the last hour.
//! Deleting it would leave its next events without a header. (Parts are dropped without a look at each trace.)

mod policy;
mod task;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;

pub use policy::{RetentionPolicy, RetentionReport};
use reflow_tracing_model::{ExecutionStatus, FlowTrace, SortOrder, TraceId, TraceQuery};
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};
pub use task::RetentionTask;

/// Traces that are deleted between two pauses.
const BITE: usize = 200;

/// A trace without an end that had no event for so long is not being written any more.
const IDLE: TimeDelta = TimeDelta::hours(1);

/// Bites without the store getting smaller, after which no more is deleted for its size.
const VAIN_BITES: u32 = 5;

/// Deletes what `policy` does not keep in `storage`. With `dry_run` it deletes nothing, and tells what it would.
///
/// Fails with [`StorageError::Unsupported`] on a backend that does not delete, and for a size on one that can't tell its own or
/// does not get smaller.
pub async fn retain(
    storage: &dyn StorageBackend,
    policy: &RetentionPolicy,
    dry_run: bool,
) -> Result<RetentionReport, StorageError> {
    let mut report = RetentionReport::default();
    let run = Run { storage, now: Utc::now(), dry_run };
    if let Some(horizon) = policy.horizon(run.now) {
        if !dry_run {
            while let Some(traces @ 1..) = storage.drop_oldest_partition(horizon).await? {
                report.by_age += traces;
            }
        }
        let deleted = run.delete_oldest(Some(horizon), u64::MAX).await?;
        report.by_age += deleted.count;
        report.being_written += deleted.being_written;
    }
    if let Some(max) = policy.max_traces {
        let traces = storage.count_traces(TraceQuery::default()).await?;
        let left = if dry_run { traces.saturating_sub(report.by_age) } else { traces };
        let deleted = match left.saturating_sub(max) {
            excess if dry_run => Deleted { count: excess, ..Deleted::default() },
            excess => run.delete_oldest(None, excess).await?,
        };
        report.by_count += deleted.count;
        report.being_written = report.being_written.max(deleted.being_written);
    }
    if let Some(max) = policy.max_bytes {
        report.by_size += run.shrink(max, report.deleted()).await?;
    }
    Ok(report)
}

/// Checks that the policy can be kept on `storage`: that it deletes, and tells its size if that matters.
pub async fn check(storage: &dyn StorageBackend, policy: &RetentionPolicy) -> Result<(), StorageError> {
    if policy.keeps_everything() {
        return Ok(());
    }
    // There is no such trace.
    storage.delete_trace(TraceId::new()).await?;
    if policy.max_bytes.is_some() {
        size(storage).await?;
    }
    Ok(())
}

async fn size(storage: &dyn StorageBackend) -> Result<u64, StorageError> {
    let metrics = storage.get_metrics().await?;
    let bytes = match metrics.storage_bytes {
        // A layer tells what it knows while the backend is away; whether that is so, this tells.
        None => storage.stats().await?.bytes,
        told => told,
    };
    bytes.ok_or_else(|| {
        StorageError::Unsupported(
            "this backend does not tell its size, so it can't be kept to one; keep it to an age or a number of traces"
                .into(),
        )
    })
}

struct Run<'a> {
    storage: &'a dyn StorageBackend,
    now: DateTime<Utc>,
    dry_run: bool,
}

#[derive(Default)]
struct Deleted {
    count: u64,
    being_written: u64,
}

impl Run<'_> {
    /// Deletes at most `most` of the oldest traces, of those that started before a time if there is one.
    async fn delete_oldest(&self, before: Option<DateTime<Utc>>, most: u64) -> Result<Deleted, StorageError> {
        let mut deleted = Deleted::default();
        let first = DateTime::from_timestamp_nanos(i64::MIN);
        let last = before.map(|before| before - TimeDelta::nanoseconds(1));
        if last.is_some_and(|last| last < first) {
            return Ok(deleted);
        }
        let mut query = TraceQuery {
            time_range: last.map(|last| (first, last)),
            order: SortOrder::OldestFirst,
            ..TraceQuery::default()
        };
        while deleted.count < most {
            query.limit = Some(usize::try_from(most - deleted.count).unwrap_or(BITE).min(BITE));
            let begun = tokio::time::Instant::now();
            let page = self.storage.query_headers(query.clone()).await?;
            let mut ids = Vec::with_capacity(page.traces.len());
            for header in &page.traces {
                if self.is_being_written(header).await? {
                    deleted.being_written += 1;
                } else {
                    ids.push(header.trace_id);
                }
            }
            if self.dry_run {
                deleted.count += ids.len() as u64;
            } else if !ids.is_empty() {
                deleted.count += self.storage.delete_traces(ids).await?;
                tokio::time::sleep(begun.elapsed()).await;
            }
            match page.next_page_token {
                Some(token) => query.page_token = Some(token),
                None => break,
            }
        }
        Ok(deleted)
    }

    async fn is_being_written(&self, header: &FlowTrace) -> Result<bool, StorageError> {
        let open = matches!(header.status, ExecutionStatus::Pending | ExecutionStatus::Running);
        if header.end_time.is_some() || !open {
            return Ok(false);
        }
        let is_recent = |time: DateTime<Utc>| self.now - time < IDLE;
        if is_recent(header.start_time) {
            return Ok(true);
        }
        // In their order, so the last one is the newest.
        let events = self.storage.stream_events(header.trace_id);
        let newest = events.try_fold(None, async |_, event| Ok(Some(event.timestamp))).await?;
        Ok(newest.is_some_and(is_recent))
    }

    /// Deletes until the store is no larger than `max` bytes. The number of traces. A dry run takes the traces to be alike,
    /// `deleted` of which it thinks away.
    async fn shrink(&self, max: u64, deleted: u64) -> Result<u64, StorageError> {
        let mut bytes = size(self.storage).await?;
        if self.dry_run {
            let traces = self.storage.count_traces(TraceQuery::default()).await?;
            let to_keep = (u128::from(traces) * u128::from(max)).checked_div(bytes.into()).unwrap_or(u128::MAX);
            let left = traces.saturating_sub(deleted);
            return Ok(left.saturating_sub(u64::try_from(to_keep).unwrap_or(u64::MAX)));
        }
        let (mut count, mut vain_bites) = (0, 0);
        while bytes > max {
            match self.storage.drop_oldest_partition(self.now).await? {
                None => break,
                Some(0) => {
                    tracing::warn!(bytes, max, "the newest partition alone is larger than the store is to be");
                    return Ok(count);
                }
                Some(traces) => count += traces,
            }
            bytes = size(self.storage).await?;
        }
        while bytes > max {
            let deleted = self.delete_oldest(None, BITE as u64).await?;
            if deleted.count == 0 {
                break;
            }
            count += deleted.count;
            let left = size(self.storage).await?;
            vain_bites = if left < bytes { 0 } else { vain_bites + 1 };
            if vain_bites == VAIN_BITES {
                return Err(StorageError::Unsupported(format!(
                    "{count} traces were deleted, and the store did not get smaller ({left} bytes): it keeps the space for \
                     new data. Keep it to an age or a number of traces instead of a size"
                )));
            }
            bytes = left;
        }
        Ok(count)
    }
}

/// What a policy is looked at again after, when nothing else is said.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
