//! Deletes what a policy does not keep, on any backend.
//!
//! What the backend keeps in parts by time (PostgreSQL's partitions) is dropped by the part, which costs next to nothing; the
//! rest is deleted trace by trace, the oldest first, in batches. After each batch there is a pause as long as the batch took, so
//! that writers have the store for half of the time at least.
//!
//! A trace that is being written is left alone, whatever its age: one without an end that had an event within the last hour.
//! Deleting it would leave its next events without a header. (Parts are dropped without a look at each trace.)
//!
//! A dry run goes through the same traces and takes the same decisions. The size is the one thing that it can only estimate: a
//! run measures the store after each batch, ends when it is small enough, and goes on when the estimate fell short.

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

/// The most traces that are deleted between two pauses.
const BATCH: u64 = 200;

/// Batches without the store getting smaller, after which no more is deleted for its size.
const BATCHES_WITHOUT_PROGRESS: u32 = 5;

/// What is deleted for size beyond what is needed, as a share of it: estimates are not exact, and a bound that is just missed
/// takes another batch.
const MARGIN: f64 = 1.0 / 16.0;

/// Deletes what `policy` does not keep in `storage`. With `dry_run` it deletes nothing, and reports what it would delete.
///
/// Fails with [`StorageError::Unsupported`] on a backend that does not delete, and for a size on one that can't tell its own or
/// does not get smaller.
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
        // A layer reports what it knows while the backend is away; this asks the backend itself.
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
    walk: Walk<'a>,
    /// In a dry run that is to know the size.
    thought_away: Option<ThoughtAway>,
}

/// The size of a store without what a dry run would have deleted so far.
struct ThoughtAway {
    estimate: Estimate,
    left: f64,
}

impl Run<'_> {
    /// Deletes what started before `horizon`. The number of traces.
    async fn delete_before(&mut self, horizon: DateTime<Utc>) -> Result<u64, StorageError> {
        let mut count = 0;
        if !self.dry_run {
            while let Some(traces @ 1..) = self.storage.drop_oldest_partition(horizon).await? {
                count += traces;
            }
        }
        Ok(count + self.delete_oldest(Some(horizon), u64::MAX).await?)
    }

    /// Deletes until there are `max` traces. Of those that are there, a dry run would have deleted `deleted`.
    async fn limit_count(&mut self, max: u64, deleted: u64) -> Result<u64, StorageError> {
        let traces = self.storage.count_traces(TraceQuery::default()).await?;
        let left = if self.dry_run { traces.saturating_sub(deleted) } else { traces };
        self.delete_oldest(None, left.saturating_sub(max)).await
    }

    /// Deletes at most `most` of the oldest traces, of those that started before a time if there is one. The number of traces.
    async fn delete_oldest(&mut self, before: Option<DateTime<Utc>>, most: u64) -> Result<u64, StorageError> {
        let mut count = 0;
        while count < most {
            let begun = tokio::time::Instant::now();
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
            count += self.delete(batch, begun).await?;
        }
        Ok(count)
    }

    /// Deletes traces that were collected since `begun`, and pauses. The number of those that were still there.
    async fn delete(&self, batch: Vec<TraceId>, begun: tokio::time::Instant) -> Result<u64, StorageError> {
        if self.dry_run {
            return Ok(batch.len() as u64);
        }
        let deleted = self.storage.delete_traces(batch).await?;
        tokio::time::sleep(begun.elapsed()).await;
        Ok(deleted)
    }

    /// Deletes until the store is no larger than `max` bytes. The number of traces.
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
                        "the newest partition alone is larger than the size that the store is kept to"
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

    /// Deletes what makes a store of `bytes` no larger than `max`, by the estimate and then by what is measured. The number of
    /// traces.
    async fn delete_for_size(&mut self, estimate: Estimate, mut bytes: u64, max: u64) -> Result<u64, StorageError> {
        let excess = bytes.saturating_sub(max) as f64;
        let margin = excess * MARGIN;
        // What is still to be deleted, in estimated bytes.
        let mut needed = excess + margin;
        let (mut count, mut least, mut without_progress) = (0, 1, 0);
        while needed > 0.0 {
            let begun = tokio::time::Instant::now();
            let mut batch = Vec::new();
            while (batch.len() as u64) < BATCH && (needed > 0.0 || (batch.len() as u64) < least) {
                let Some(header) = self.walk.next(None).await? else { break };
                needed -= estimate.bytes(self.storage, &header).await?;
                batch.push(header.trace_id);
            }
            if batch.is_empty() {
                break;
            }
            count += self.delete(batch, begun).await?;
            if self.dry_run {
                continue;
            }
            let left = size(self.storage).await?;
            if left <= max {
                // Sooner than estimated. The margin alone is deleted all the same, as a dry run said.
                if needed > margin {
                    break;
                }
            } else {
                if left < bytes {
                    (without_progress, least) = (0, 1);
                } else {
                    // Space may come back in units that are larger than a few traces.
                    (without_progress, least) = (without_progress + 1, (least * 2).min(BATCH));
                }
                if without_progress == BATCHES_WITHOUT_PROGRESS {
                    return Err(StorageError::Unsupported(format!(
                        "{count} traces were deleted, and the store did not get smaller ({left} bytes): it keeps the space for \
                         new data. Keep it to an age or a number of traces instead of a size"
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

/// The time from one application of a policy to the next, unless the configuration says otherwise.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
