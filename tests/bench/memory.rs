//! The memory backend.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use reflow_tracing::storage::{MemoryConfig, MemoryStorage, StorageBackend};
use reflow_tracing::{TraceEvent, TraceId};

use crate::measure::{Rounds, seconds_each};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{Workload, in_batches};
use crate::{BATCH, Sizes};

const BATCHES: Path = Path {
    name: "memory: events in batches of 1,000",
    floor: "pushing events into a map of vectors",
    unit: Unit::Rate,
    reach: Reach::Speed(0.4),
};

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if report.wants(&BATCHES) {
        report.compared(&BATCHES, &batches(sizes).await?);
    }
    Ok(())
}

async fn batches(sizes: &Sizes) -> Result<Rounds> {
    let events = Workload::new()?.events(sizes.events);
    let batches = in_batches(events, BATCH);
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let floor = async || {
            let batches = batches.clone();
            let mut map: HashMap<TraceId, Vec<TraceEvent>> = HashMap::new();
            let start = Instant::now();
            for (trace_id, event) in batches.into_iter().flatten() {
                map.entry(trace_id).or_default().push(event);
            }
            let cost = seconds_each(start, sizes.events);
            black_box(map);
            Ok(cost)
        };
        let path = async || {
            let batches = batches.clone();
            // Limits above the workload: eviction is not measured here.
            let config = MemoryConfig { max_memory_mb: 4096, max_traces: sizes.events, ..MemoryConfig::default() };
            let storage = MemoryStorage::with_config(config);
            let start = Instant::now();
            for batch in batches {
                storage.store_events(batch).await?;
            }
            let cost = seconds_each(start, sizes.events);
            black_box(storage);
            Ok(cost)
        };
        rounds.round(floor, path).await?;
    }
    Ok(rounds)
}
