//! Background maintenance: creates the next partitions and drops expired ones.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reflow_tracing_storage::StorageError;

use super::database::{Database, retried};
use super::partition::{self, Dropped, Partitions};
use reflow_tracing_storage::task::Supervised;

/// The next partition exists at least half an hour before its time, even with hourly partitions.
const EVERY: Duration = Duration::from_secs(600);

/// The maintenance task. Stops when this is dropped.
pub(super) struct Maintenance(Supervised);

impl Maintenance {
    /// Starts the task, which runs immediately and then at intervals.
    pub(super) fn start(database: Arc<Database>, partitions: Arc<Partitions>, retention_days: u32) -> Self {
        Self(Supervised::start("partition maintenance", move || {
            let (database, partitions) = (database.clone(), partitions.clone());
            async move {
                let mut turns = tokio::time::interval(EVERY);
                loop {
                    turns.tick().await;
                    match maintain(&database, &partitions, retention_days).await {
                        Ok(0) => {}
                        Ok(dropped) => tracing::info!("dropped {dropped} expired partitions"),
                        // The next run, or the write that needs the partition, tries again.
                        Err(error) => tracing::warn!("maintenance of the partitions failed: {error}"),
                    }
                }
            }
        }))
    }

    pub(super) fn stop(&self) {
        self.0.stop();
    }

    /// A warning for the operator.
    pub(super) fn warning(&self) -> Option<String> {
        self.0.health().warning()
    }
}

async fn maintain(database: &Database, partitions: &Partitions, retention_days: u32) -> Result<u64, StorageError> {
    let mut connection = database.primary.acquire().await?;
    partitions.create_ahead(&mut connection).await.map_err(|error| database.primary.describe(error))?;
    drop(connection);
    drop_expired(database, partitions, retention_days).await
}

/// Returns the number of dropped partitions.
pub(super) async fn drop_expired(
    database: &Database,
    partitions: &Partitions,
    retention_days: u32,
) -> Result<u64, StorageError> {
    if retention_days == 0 {
        return Ok(0);
    }
    let limit = Utc::now() - TimeDelta::days(retention_days.into());
    Ok(drop_until(database, partitions, limit).await?.partitions)
}

/// Drops the oldest partitions that ended at `time` or before, up to the first that has traces. Returns the number of its
/// traces.
pub(super) async fn drop_oldest(
    database: &Database,
    partitions: &Partitions,
    time: DateTime<Utc>,
) -> Result<u64, StorageError> {
    let ends = retried!(database, |connection| partition::ends(connection).await)?;
    for end in ends.into_iter().take_while(|end| *end <= time) {
        let traces = drop_until(database, partitions, end).await?.traces;
        if traces > 0 {
            return Ok(traces);
        }
    }
    Ok(0)
}

async fn drop_until(
    database: &Database,
    partitions: &Partitions,
    time: DateTime<Utc>,
) -> Result<Dropped, StorageError> {
    // A connection outside of the pool, because a cancelled call would leave its lock on a pooled one.
    let mut connection = database.primary.connect().await?;
    let dropped = async {
        let dropped = partitions.drop_ended(&mut connection, time).await?;
        database.committed(&mut connection).await?;
        Ok(dropped)
    };
    dropped.await.map_err(|error| database.primary.describe(error))
}
