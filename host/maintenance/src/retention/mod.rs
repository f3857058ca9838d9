//! Retention: deletes the traces that a policy doesn't keep, on every backend.
//!
//! Partitions by time (PostgreSQL) are dropped as a whole, which costs almost nothing. Other traces are deleted in batches,
//! oldest first. After each batch, retention pauses as long as the batch took, so that writers have the store for at least half
//! of the time.
//!
//! A trace that is being written is kept regardless of its age: one without an end that had an event within the last hour.
//! Deleting it would leave its next events without a header. (Dropping a partition doesn't check each trace.)
//!
//! A dry run reads the same traces and takes the same decisions. It can only estimate sizes; a run measures the store after
//! each batch, stops when it is small enough, and continues if the estimate was too low.

mod estimate;
mod policy;
mod task;
mod walk;

use std::time::Duration;

use chrono::{DateTime, Utc};

use estimate::Estimate;
pub use policy::{RetentionPolicy, RetentionReport};
use reflow_tracing_model::{TraceId, TraceQuery};
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};
pub use task::RetentionTask;
use walk::Walk;

/// The maximum number of traces per batch.
const BATCH: u64 = 200;

/// After this many batches without progress, retention by size stops.
const BATCHES_WITHOUT_PROGRESS: u32 = 5;

/// The margin for retention by size, as a share of what must be deleted: estimates are not exact, and missing the bound by a
/// little costs another batch.
const MARGIN: f64 = 1.0 / 16.0;

/// Deletes the traces of `storage` that `policy` doesn't keep. With `dry_run`, deletes nothing and reports what it would
/// delete.
///
/// Fails with [`StorageError::Unsupported`] on a backend that can't delete, and for a maximum size also on one that can't
/// report its size or doesn't get smaller.
pub async fn retain(
    storage: &dyn StorageBackend,
    policy: &RetentionPolicy,
    dry_run: bool,
) -> Result<RetentionReport, StorageError> {
    let now = Utc::now();
    let mut run = Run { storage, now, dry_run, walk: Walk::new(storage, now), thought_away: None };
    if let (Some(_), true) = (policy.max_bytes, dry_run) {
        let bytes = size(storage).await?;
        let estimate = Estimate::of(storage, bytes).await?;
        run.thought_away = Some(ThoughtAway { estimate, left: bytes as f64 });
    }
    let mut report = RetentionReport::default();
    if let Some(horizon) = policy.horizon(now) {
        report.by_age = run.delete_before(horizon).await?;
    }
    if let Some(max) = policy.max_traces {
        report.by_count = run.limit_count(max, report.by_age).await?;
    }
    if let Some(max) = policy.max_bytes {
        report.by_size = run.limit_size(max).await?;
    }
    report.being_written = run.walk.passed_over();
    Ok(report)
}

/// Checks that `storage` supports the policy: that it can delete and, if needed, report its size.
pub async fn check(storage: &dyn StorageBackend, policy: &RetentionPolicy) -> Result<(), StorageError> {
    if policy.keeps_everything() {
        return Ok(());
    }
    // No such trace exists.
    storage.delete_trace(TraceId::new()).await?;
    if policy.max_bytes.is_some() {
        size(storage).await?;
    }
    Ok(())
}

async fn size(storage: &dyn StorageBackend) -> Result<u64, StorageError> {
    let metrics = storage.get_metrics().await?;
    let bytes = match metrics.storage_bytes {
        // A layer may answer while the backend is unavailable, so ask the backend itself.
        None => storage.stats().await?.bytes,
        reported => reported,
    };
    bytes.ok_or_else(|| {
        StorageError::Unsupported(
            "this backend does not report its size, so a maximum size can't be enforced; limit the age or the number of traces instead"
                .into(),
        )
    })
}

struct Run<'a> {
    storage: &'a dyn StorageBackend,
    now: DateTime<Utc>,
    dry_run: bool,
    walk: Walk<'a>,
    /// Set in a dry run with a maximum size.
    thought_away: Option<ThoughtAway>,
}

/// The size of the store without the traces that a dry run would have deleted so far.
struct ThoughtAway {
    estimate: Estimate,
    left: f64,
}

impl Run<'_> {
    /// Deletes traces that started before `horizon`. Returns their number.
    async fn delete_before(&mut self, horizon: DateTime<Utc>) -> Result<u64, StorageError> {
        let mut count = 0;
        if !self.dry_run {
            while let Some(traces @ 1..) = self.storage.drop_oldest_partition(horizon).await? {
                count += traces;
            }
        }
        Ok(count + self.delete_oldest(Some(horizon), u64::MAX).await?)
    }

    /// Deletes until `max` traces are left. `deleted` of the existing ones would have been deleted by a dry run.
    async fn limit_count(&mut self, max: u64, deleted: u64) -> Result<u64, StorageError> {
        let traces = self.storage.count_traces(TraceQuery::default()).await?;
        let left = if self.dry_run { traces.saturating_sub(deleted) } else { traces };
        self.delete_oldest(None, left.saturating_sub(max)).await
    }

    /// Deletes at most `most` of the oldest traces, optionally only those that started before a time. Returns their number.
    async fn delete_oldest(&mut self, before: Option<DateTime<Utc>>, most: u64) -> Result<u64, StorageError> {
        let mut count = 0;
        while count < most {
            let start = tokio::time::Instant::now();
            let mut batch = Vec::new();
            while (batch.len() as u64) < BATCH.min(most - count) {
                let Some(header) = self.walk.next(before).await? else { break };
                if let Some(ThoughtAway { estimate, left }) = &mut self.thought_away {
                    *left -= estimate.bytes(self.storage, &header).await?;
                }
                batch.push(header.trace_id);
            }
            if batch.is_empty() {
                break;
            }
            count += self.delete(batch, start).await?;
        }
        Ok(count)
    }

    /// Deletes traces that were collected since `start`, and pauses. Returns how many of them still existed.
    async fn delete(&self, batch: Vec<TraceId>, start: tokio::time::Instant) -> Result<u64, StorageError> {
        if self.dry_run {
            return Ok(batch.len() as u64);
        }
        let deleted = self.storage.delete_traces(batch).await?;
        tokio::time::sleep(start.elapsed()).await;
        Ok(deleted)
    }

    /// Deletes until the store has at most `max` bytes. Returns the number of traces.
    async fn limit_size(&mut self, max: u64) -> Result<u64, StorageError> {
        if let Some(ThoughtAway { estimate, left }) = self.thought_away {
            return self.delete_for_size(estimate, left.max(0.0) as u64, max).await;
        }
        let mut bytes = size(self.storage).await?;
        let mut count = 0;
        while bytes > max {
            match self.storage.drop_oldest_partition(self.now).await? {
                None => break,
                Some(0) => {
                    tracing::warn!(
                        bytes,
                        max,
                        "the newest partition alone is larger than the maximum size of the store; raise the \
                         maximum, or use shorter partitions"
                    );
                    return Ok(count);
                }
                Some(traces) => count += traces,
            }
            self.walk.restart();
            bytes = size(self.storage).await?;
        }
        if bytes <= max {
            return Ok(count);
        }
        let estimate = Estimate::of(self.storage, bytes).await?;
        Ok(count + self.delete_for_size(estimate, bytes, max).await?)
    }

    /// Deletes until a store of `bytes` has at most `max`, first by the estimate, then by measuring. Returns the number of
    /// traces.
    async fn delete_for_size(&mut self, estimate: Estimate, mut bytes: u64, max: u64) -> Result<u64, StorageError> {
        let excess = bytes.saturating_sub(max) as f64;
        let margin = excess * MARGIN;
        // The estimated bytes still to delete.
        let mut needed = excess + margin;
        let (mut count, mut least, mut without_progress) = (0, 1, 0);
        while needed > 0.0 {
            let start = tokio::time::Instant::now();
            let mut batch = Vec::new();
            while (batch.len() as u64) < BATCH && (needed > 0.0 || (batch.len() as u64) < least) {
                let Some(header) = self.walk.next(None).await? else { break };
                needed -= estimate.bytes(self.storage, &header).await?;
                batch.push(header.trace_id);
            }
            if batch.is_empty() {
                break;
            }
            count += self.delete(batch, start).await?;
            if self.dry_run {
                continue;
            }
            let left = size(self.storage).await?;
            if left <= max {
                // The store is small enough earlier than estimated. Delete the margin anyway, as a dry run would report.
                if needed > margin {
                    break;
                }
            } else {
                if left < bytes {
                    (without_progress, least) = (0, 1);
                } else {
                    // The store may free space in units larger than a few traces.
                    (without_progress, least) = (without_progress + 1, (least * 2).min(BATCH));
                }
                if without_progress == BATCHES_WITHOUT_PROGRESS {
                    return Err(StorageError::Unsupported(format!(
                        "{count} traces were deleted, but the store did not get smaller ({left} bytes): it keeps the space for \
                         new data. Limit the age or the number of traces instead of the size"
                    )));
                }
                if needed <= 0.0 {
                    needed = (left - max) as f64;
                }
            }
            bytes = left;
        }
        Ok(count)
    }
}

/// The default time between two runs.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
