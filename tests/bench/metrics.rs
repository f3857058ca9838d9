//! The metrics layer.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use reflow_tracing::storage::layers::metrics::Metered;
use reflow_tracing::storage::{MemoryStorage, SqliteStorage, StorageBackend};

use crate::Sizes;
use crate::measure::{Rounds, seconds_each};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::Workload;

/// The shortest write of a store on disk; of longer calls, the layer is a smaller share.
const ADDED: Path = Path {
    name: "metrics: overhead of the layer per call",
    floor: "sqlite: store_event, one after another",
    unit: Unit::Time,
    reach: Reach::Cost(0.01),
};

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if !report.wants(&ADDED) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let sqlite = SqliteStorage::new(folder.path().join("floor.db")).await?;
    // Built-in backends have the layer already. A second one costs the same as the first.
    let (once, twice) = (MemoryStorage::new(), Metered::around(MemoryStorage::new()));
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events / 10);
        let floor = async || {
            let (start, count) = (Instant::now(), events.len());
            for (trace_id, event) in events {
                sqlite.store_event(trace_id, event).await?;
            }
            Ok(seconds_each(start, count))
        };
        let path = async || Ok((call(&twice, sizes.calls).await? - call(&once, sizes.calls).await?).max(0.0));
        rounds.round(floor, path).await?;
    }
    report.compared(&ADDED, &rounds);
    Ok(())
}

/// The seconds of a call that does nothing.
async fn call(storage: &dyn StorageBackend, calls: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(storage.health_check().await?);
    }
    Ok(seconds_each(start, calls))
}
