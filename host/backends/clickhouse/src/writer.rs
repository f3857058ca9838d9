//! Group commit: writes that arrive while others are stored share the next batch.
//!
//! The server stores a batch of thousands of rows nearly as quickly as one row, and it has to merge the files of each batch
//! later. So every write goes through the [queue](reflow_tracing_storage::write_queue) to a few tasks. A task takes a full batch
//! immediately, and a smaller one when the one before is stored.

use std::sync::Arc;

use reflow_tracing_storage::task::contain;
use reflow_tracing_storage::write_queue::{Batch, Batches, Limits, Size, Split, Workers};

use super::batch::{MAX_BYTES, Store, Write};
use super::config::ClickHouseConfig;
use super::connection::Server;

/// The number of batches that are stored at the same time.
const AT_ONCE: usize = 4;

const NAME: &str = "the ClickHouse writer";

/// Starts the tasks that store writes.
pub(super) fn start(server: Arc<Server>, config: &ClickHouseConfig) -> Workers<Write> {
    let batch = Size::new(config.batch_size, MAX_BYTES);
    let limits = Limits {
        name: NAME,
        // The batches in flight, and as many that wait.
        total: Size::new(2 * AT_ONCE * config.batch_size.max(5_000), 2 * AT_ONCE * MAX_BYTES),
        batch,
        full: batch,
        at_once: AT_ONCE,
        patience: Some(config.flush_interval()),
    };
    let store = Arc::new(Store::new(server, config.batch_size));
    Workers::start("writing to ClickHouse", limits, move |batches| work(store.clone(), batches))
}

async fn work(store: Arc<Store>, batches: Batches<Write>) {
    while let Some(batch) = batches.next().await {
        // A panic affects only this batch, which is answered when it is dropped.
        contain(NAME, commit(&store, batch)).await;
    }
}

async fn commit(store: &Store, batch: Batch<Write>) {
    let Batch { entries: writes, answers, .. } = batch;
    let mut split = Split::new(writes.len());
    while let Some(part) = split.next() {
        split.outcome(store.store(&writes[part]).await);
    }
    answers.send(split.outcomes().cloned());
}
