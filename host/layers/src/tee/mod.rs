//! Gives every write of a store to further backends too, for example to an archive or to a forwarder.
//!
//! ```no_run
//! # async fn example() -> Result<(), reflow_tracing_storage::StorageError> {
//! # use std::sync::Arc;
//! # let (store, archive) = (reflow_tracing_memory::MemoryStorage::new(), reflow_tracing_memory::MemoryStorage::new());
//! use reflow_tracing_layers::spool::SpoolConfig;
//! use reflow_tracing_layers::tee::Tee;
//!
//! let storage = Tee::open(Arc::new(store), vec![("archive".into(), Arc::new(archive))], &SpoolConfig::new("also")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Writes
//! A write goes to the store first. If that succeeds, it is appended to a queue on disk for each of the other backends, and then
//! it is acknowledged. So an acknowledged write survives a crash and a loss of power, and reaches each backend at least once,
//! in the order of the acknowledgements; within a batch, events go before headers. The queues are those of the
//! [spool](super::spool), one folder for each backend.
//!
//! A backend that is slow, away or failing neither slows nor fails the store. Its queue grows up to
//! [`SpoolConfig::max_size_mb`]. After that, or while the disk is full, further writes are *dropped* for this backend until
//! there is space again: what waits stays, in order, so what the backend lacks is one period of time. Dropped writes are counted
//! ([`AlsoMetrics`](reflow_tracing_storage::AlsoMetrics)), logged, and a warning of the store.
//!
//! A write that a backend rejects permanently is logged and moved to the table `refused` of its queue, the first
//! [`MAX_REFUSED`] of them; more are only counted.
//!
//! # Everything else
//! Reads and queries go to the store only. Deletions too: another backend keeps traces for as long as it wants.
//!
//! # Order
//! It is the outermost layer. Each backend needs a [time limit](super::timeout), and nothing that retries.

mod record;
mod target;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use futures::stream::BoxStream;
use reflow_tracing_sqlite::pool::blocking;
use reflow_tracing_storage::layer::{Operation, StreamOperation};
use reflow_tracing_storage::{
    Layer, SpoolMetrics, StorageBackend, StorageBackendExt, StorageError, StorageExtras, StorageMetrics,
};

use crate::spool::SpoolConfig;
use crate::spool::file::look;
use record::Write;
pub use target::MAX_REFUSED;
use target::Target;

/// The layer. See the [module](self).
pub struct Tee(Outputs);

/// The store, and the backends that get its writes too.
struct Outputs {
    store: Arc<dyn StorageBackend>,
    targets: Vec<Target>,
}

impl Tee {
    /// Gives the writes of `store` to the backends `also`, each with its name. `queues` is the folder of their queues, and the
    /// maximum of each. What waits there from before is delivered.
    ///
    /// Must be called within a Tokio runtime. Fails with [`StorageError::Configuration`] if another process uses a queue, and
    /// with [`StorageError::Corrupt`] if one is damaged.
    pub async fn open(
        store: Arc<dyn StorageBackend>,
        also: Vec<(String, Arc<dyn StorageBackend>)>,
        queues: &SpoolConfig,
    ) -> Result<Self, StorageError> {
        let mut targets = Vec::with_capacity(also.len());
        for (name, backend) in also {
            targets.push(Target::open(name, backend, queues).await?);
        }
        Ok(Self(Outputs { store, targets }))
    }
}

/// What waits for the backend `name` in the folder `queues`, also while a host uses it; `None` if nothing was ever queued.
pub async fn waiting(queues: &Path, name: &str) -> Result<Option<SpoolMetrics>, StorageError> {
    let dir = queues.join(name);
    blocking(move || look(&dir)).await
}

impl Layer for Tee {
    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, StorageError> {
        let Outputs { store, targets } = &self.0;
        let Some(write) = Write::of(&operation)? else { return operation.run(&**store).await };
        let output = operation.run(&**store).await?;
        let record = write.record(&**store).await;
        join_all(targets.iter().map(|target| target.append(&record))).await;
        Ok(output)
    }

    fn stream<O: StreamOperation>(&self, operation: O) -> BoxStream<'_, Result<O::Item, StorageError>> {
        operation.run(&*self.0.store)
    }

    fn extras(&self) -> Option<&dyn StorageExtras> {
        Some(&self.0)
    }

    async fn metrics(&self) -> Result<StorageMetrics, StorageError> {
        let mut metrics = self.0.store.get_metrics().await?;
        metrics.also = self.0.targets.iter().map(Target::metrics).collect();
        Ok(metrics)
    }

    /// What waits stays for the next start.
    async fn shut_down(&self) -> Result<(), StorageError> {
        let closed = self.0.store.close().await;
        join_all(self.0.targets.iter().map(Target::close)).await;
        closed
    }
}

/// Only what doesn't wait; the rest is a [`Layer::call`].
impl StorageExtras for Outputs {
    fn warnings(&self) -> Vec<String> {
        let mut warnings = StorageBackendExt::warnings(&self.store);
        warnings.extend(self.targets.iter().flat_map(Target::warnings));
        warnings
    }

    fn retention_horizon(&self) -> Option<DateTime<Utc>> {
        StorageBackendExt::retention_horizon(&self.store)
    }

    fn concurrent_writes(&self) -> usize {
        StorageBackendExt::concurrent_writes(&self.store)
    }
}
