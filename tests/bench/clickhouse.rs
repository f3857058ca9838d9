//! The ClickHouse backend, on its own server.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reflow_tracing::TraceId;
use reflow_tracing::storage::{ClickHouseConfig, ClickHouseStorage, StorageBackend};
use reflow_tracing_tests::servers::ClickHouse;

use crate::bare_clickhouse::{BareClickHouse, Rows};
use crate::measure::{Rounds, seconds_each};
use crate::paths::get_traces;
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{EVENTS_A_TRACE, Workload, in_batches};
use crate::{BATCH, Sizes};

const PIPELINE: Path = Path {
    name: "clickhouse: events in batches of 1,000",
    floor: "bare inserter of ready rows, batches of 10,000",
    unit: Unit::Rate,
    reach: Reach::Speed(0.8),
};
const GET_TRACE: Path = Path {
    name: "clickhouse: get_trace, 20 events of 5,000,000",
    floor: "bare select with a known time",
    unit: Unit::Time,
    reach: Reach::Speed(0.5),
};
const BYTES: Path = Path {
    name: "clickhouse: bytes on disk per event",
    floor: "its JSON",
    unit: Unit::Bytes,
    reach: Reach::Cost(0.15),
};

/// The rows that the floor sends at once: the same as the backend under load.
const FULL_BATCH: usize = 10_000;
/// Batches that are written concurrently.
const CALLERS: usize = 32;

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    let [pipeline, get_trace, bytes] = [&PIPELINE, &GET_TRACE, &BYTES].map(|path| report.wants(path));
    if !(pipeline || get_trace || bytes) {
        return Ok(());
    }
    let server = ClickHouse::start();
    if pipeline {
        report.compared(&PIPELINE, &in_batches_of(&server, sizes).await?);
    }
    if get_trace || bytes {
        let stored = Stored::new(&server, sizes).await?;
        if get_trace {
            report.compared(&GET_TRACE, &stored.get_trace(sizes).await?);
        }
        if bytes {
            let events = stored.bare.events().await?;
            report.constant(&BYTES, stored.bare.bytes().await? as f64 / events as f64, stored.json_bytes);
        }
    }
    Ok(())
}

fn config(server: &ClickHouse, database: &str) -> ClickHouseConfig {
    ClickHouseConfig { url: server.url(), database: database.into(), ..ClickHouseConfig::default() }
}

async fn store(storage: &ClickHouseStorage, events: crate::workload::Batch) -> Result<()> {
    stream::iter(in_batches(events, BATCH))
        .map(|batch| storage.store_events(batch))
        .buffer_unordered(CALLERS)
        .try_collect::<()>()
        .await?;
    Ok(())
}

async fn in_batches_of(server: &ClickHouse, sizes: &Sizes) -> Result<Rounds> {
    let mut workload = Workload::new()?;
    let rows = Rows::new(&config(server, "batch_rows")).await?;
    let floor = BareClickHouse::open(&config(server, "batch_floor")).await?;
    let storage = ClickHouseStorage::with_config(config(server, "batch_path")).await?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events * 5);
        let count = events.len();
        let rows = rows.of(&events).await?;
        ensure!(rows.len() == count, "{} rows of {count} events", rows.len());
        let floor = async || {
            let start = Instant::now();
            floor.store(&rows, FULL_BATCH).await?;
            Ok(seconds_each(start, count))
        };
        let path = async || {
            let start = Instant::now();
            store(&storage, events).await?;
            Ok(seconds_each(start, count))
        };
        rounds.round(floor, path).await?;
    }
    ensure!(storage.stats().await?.events == floor.events().await?, "path and floor stored different events");
    Ok(rounds)
}

/// A store to read from.
struct Stored {
    storage: ClickHouseStorage,
    bare: BareClickHouse,
    /// Some of the traces, each with its first and last event's time.
    sample: Vec<(TraceId, i64, i64)>,
    /// Of an event, on average.
    json_bytes: f64,
}

impl Stored {
    async fn new(server: &ClickHouse, sizes: &Sizes) -> Result<Self> {
        /// Traces that are generated and stored at once.
        const AT_ONCE: usize = 2_000;
        /// Traces that a round reads.
        const SAMPLE: usize = 200;

        let config = config(server, "stored");
        let storage = ClickHouseStorage::with_config(config.clone()).await?;
        let mut workload = Workload::new()?;
        let count = sizes.stored_events * 5 / EVENTS_A_TRACE;
        let every = count.div_ceil(SAMPLE);
        let (mut sample, mut json, mut json_events) = (Vec::new(), 0, 0);
        for first in (0..count).step_by(AT_ONCE) {
            let traces: Vec<_> = (first..count.min(first + AT_ONCE)).map(|_| workload.trace(EVENTS_A_TRACE)).collect();
            for (number, trace) in (first..).zip(&traces) {
                if number % every == 0 {
                    let times = trace.events.iter().filter_map(|event| event.timestamp.timestamp_nanos_opt());
                    let (from, to) = times.fold((i64::MAX, i64::MIN), |(from, to), at| (from.min(at), to.max(at)));
                    sample.push((trace.trace_id, from, to));
                    for event in &trace.events {
                        json += serde_json::to_vec(event)?.len();
                        json_events += 1;
                    }
                }
            }
            storage.store_traces(traces).await?;
        }
        let bare = BareClickHouse::open(&config).await?;
        Ok(Self { storage, bare, sample, json_bytes: f64::from(json as u32) / f64::from(json_events) })
    }

    async fn get_trace(&self, sizes: &Sizes) -> Result<Rounds> {
        let mut rounds = Rounds::new(sizes.rounds);
        while rounds.more() {
            let floor = async || {
                let start = Instant::now();
                for (trace_id, from, to) in &self.sample {
                    let events = self.bare.read(*trace_id, *from, *to).await?;
                    ensure!(events == EVENTS_A_TRACE, "trace {trace_id} is not complete");
                }
                Ok(seconds_each(start, self.sample.len()))
            };
            let path = async || get_traces(&self.storage, self.sample.iter().map(|(trace_id, ..)| *trace_id)).await;
            rounds.round(floor, path).await?;
        }
        Ok(rounds)
    }
}
