//! The layer that measures. What is built in has it around itself already, so what once more costs is what once costs.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::storage::layers::metrics::Metered;
use reflow_tracing::storage::{MemoryStorage, SqliteStorage, StorageBackend};

use crate::measure::{Rounds, seconds_each};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{Workload, in_batches};
use crate::{BATCH, Sizes};

const BATCHES: Path = Path {
    name: "metrics: sqlite, batches of 1,000, measured",
    floor: "the same without that layer",
    unit: Unit::Rate,
    reach: Reach::Speed(0.99),
};
const CALLS: Path = Path {
    name: "metrics: a call that does nothing, measured",
    floor: "the same without that layer",
    unit: Unit::Time,
    reach: Reach::Report,
};

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if report.wants(&BATCHES) {
        report.compared(&BATCHES, &batches(sizes).await?);
    }
    if report.wants(&CALLS) {
        report.compared(&CALLS, &calls(sizes).await?);
    }
    Ok(())
}

async fn batches(sizes: &Sizes) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let floor = SqliteStorage::new(folder.path().join("floor.db")).await?;
    let path = Metered::around(SqliteStorage::new(folder.path().join("path.db")).await?);
    // More than elsewhere: what is looked for is small.
    let mut rounds = Rounds::new(sizes.rounds * 3);
    while rounds.more() {
        let batches = in_batches(workload.events(sizes.events), BATCH);
        let (for_floor, for_path) = (batches.clone(), batches);
        rounds.round(async || store(&floor, for_floor).await, async || store(&path, for_path).await).await?;
    }
    ensure!(floor.stats().await?.events == path.stats().await?.events, "path and floor stored different events");
    Ok(rounds)
}

async fn store(storage: &dyn StorageBackend, batches: Vec<crate::workload::Batch>) -> Result<f64> {
    let events = batches.iter().map(Vec::len).sum();
    let start = Instant::now();
    for batch in batches {
        storage.store_events(batch).await?;
    }
    Ok(seconds_each(start, events))
}

async fn calls(sizes: &Sizes) -> Result<Rounds> {
    let (floor, path) = (MemoryStorage::new(), Metered::around(MemoryStorage::new()));
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        rounds.round(async || call(&floor, sizes.calls).await, async || call(&path, sizes.calls).await).await?;
    }
    Ok(rounds)
}

async fn call(storage: &dyn StorageBackend, calls: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(storage.health_check().await?);
    }
    Ok(seconds_each(start, calls))
}
