//! The SQLite backend.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::storage::{SqliteStorage, StorageBackend};
use reflow_tracing::{TraceEvent, TraceId, TraceQuery};
use tempfile::TempDir;

use crate::bare_sqlite::{BareSqlite, Rows};
use crate::measure::{Rounds, seconds_each};
use crate::paths::{PAGE, get_traces, pages, store, store_concurrently};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{EVENTS_A_TRACE, Workload, in_batches};
use crate::{BATCH, Sizes};

const BATCHES: Path = Path {
    name: "sqlite: events in batches of 1,000",
    floor: "bare statements, 1,000 per transaction",
    unit: Unit::Rate,
    reach: Reach::Speed(0.8),
};
const CONCURRENT: Path = Path {
    name: "sqlite: 64 concurrent store_event",
    floor: "bare statements, 64 per transaction",
    unit: Unit::Rate,
    reach: Reach::Speed(0.5),
};
const GET_TRACE: Path = Path {
    name: "sqlite: get_trace, 20 events of 1,000,000",
    floor: "bare statements, the events from JSON",
    unit: Unit::Time,
    reach: Reach::Speed(0.5),
};
const PAGES: Path = Path {
    name: "sqlite: query by flow and time, page 500",
    floor: "page 1",
    unit: Unit::Time,
    reach: Reach::Cost(2.0),
};
const BYTES: Path = Path {
    name: "sqlite: bytes on disk per event",
    floor: "the event's JSON",
    unit: Unit::Bytes,
    reach: Reach::Cost(0.6),
};

const WRITERS: usize = 64;

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if report.wants(&BATCHES) {
        report.compared(&BATCHES, &batches(sizes).await?);
    }
    if report.wants(&CONCURRENT) {
        report.compared(&CONCURRENT, &concurrent(sizes).await?);
    }
    let [get_trace, deep_page, bytes] = [&GET_TRACE, &PAGES, &BYTES].map(|path| report.wants(path));
    if get_trace || deep_page || bytes {
        let stored = Stored::new(sizes).await?;
        if get_trace {
            report.compared(&GET_TRACE, &stored.get_trace(sizes).await?);
        }
        if deep_page {
            report.compared(&PAGES, &pages(&stored.storage, &stored.query, sizes).await?);
        }
        if bytes {
            report.constant(&BYTES, stored.bytes_an_event()?, stored.json_bytes);
        }
    }
    Ok(())
}

async fn batches(sizes: &Sizes) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let mut rows = Rows::new(&folder.path().join("rows.db")).await?;
    let mut floor = BareSqlite::create(&folder.path().join("floor.db")).await?;
    let storage = SqliteStorage::new(folder.path().join("path.db")).await?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events);
        let rows = rows.of(&events).await?;
        let floor = async || {
            let start = Instant::now();
            floor.store(&rows, BATCH)?;
            Ok(seconds_each(start, rows.len()))
        };
        rounds.round(floor, async || store(&storage, events).await).await?;
    }
    ensure!(storage.stats().await?.events == floor.events()?, "path and floor stored different events");
    Ok(rounds)
}

async fn concurrent(sizes: &Sizes) -> Result<Rounds> {
    let folder = tempfile::tempdir()?;
    let mut workload = Workload::new()?;
    let mut rows = Rows::new(&folder.path().join("rows.db")).await?;
    let mut floor = BareSqlite::create(&folder.path().join("floor.db")).await?;
    let storage = Arc::new(SqliteStorage::new(folder.path().join("path.db")).await?);
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let share = (sizes.events / 2 / WRITERS).next_multiple_of(EVENTS_A_TRACE);
        let shares = in_batches(workload.events(WRITERS * share), share);
        // The writers are in different traces, so the floor's transactions reach into as many.
        let in_turns = (0..share).flat_map(|number| shares.iter().map(move |share| share[number].clone())).collect();
        let rows = rows.of(&in_turns).await?;
        let floor = async || {
            let start = Instant::now();
            floor.store(&rows, WRITERS)?;
            Ok(seconds_each(start, rows.len()))
        };
        rounds.round(floor, async || store_concurrently(&storage, shares).await).await?;
    }
    ensure!(storage.stats().await?.events == floor.events()?, "path and floor stored different events");
    Ok(rounds)
}

/// A store to read from.
struct Stored {
    file: PathBuf,
    storage: SqliteStorage,
    events: usize,
    /// The mean length of an event's JSON.
    json_bytes: f64,
    /// Some of the traces, and their events as JSON.
    sample: Vec<(TraceId, Vec<String>)>,
    /// Of all traces but the newest twentieth.
    query: TraceQuery,
    _folder: TempDir,
}

impl Stored {
    async fn new(sizes: &Sizes) -> Result<Self> {
        /// Traces that are generated and stored at once.
        const AT_ONCE: usize = 500;
        /// Traces that a round reads.
        const SAMPLE: usize = 1_000;

        let folder = tempfile::tempdir()?;
        let file = folder.path().join("traces.db");
        let storage = SqliteStorage::new(&file).await?;
        let mut workload = Workload::new()?;
        let count = sizes.stored_events / EVENTS_A_TRACE;
        let every = count.div_ceil(SAMPLE);
        let (mut sample, mut range, mut json_bytes) = (Vec::new(), None, 0);
        for first in (0..count).step_by(AT_ONCE) {
            let traces: Vec<_> = (first..count.min(first + AT_ONCE)).map(|_| workload.trace(EVENTS_A_TRACE)).collect();
            for (number, trace) in (first..).zip(&traces) {
                if number % every == 0 {
                    let json: Vec<_> = trace.events.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
                    json_bytes += json.iter().map(String::len).sum::<usize>();
                    sample.push((trace.trace_id, json));
                }
                if number < count - count / 20 {
                    let from = range.map_or(trace.start_time, |(from, _)| from);
                    range = Some((from, trace.start_time));
                }
            }
            storage.store_traces(traces).await?;
        }
        // Into the file, out of the log.
        storage.flush().await?;
        // Adjacent traces would share cached pages.
        let stride = sample.len() / 2 + 1;
        let order = (0..sample.len()).map(|number| number * stride % sample.len());
        let sample: Vec<_> = order.map(|number| sample[number].clone()).collect();
        let sampled: usize = sample.iter().map(|(_, json)| json.len()).sum();
        let query = TraceQuery {
            flow_id: Some(Workload::flow()),
            time_range: range,
            limit: Some(PAGE),
            ..TraceQuery::default()
        };
        Ok(Self {
            file,
            storage,
            events: count * EVENTS_A_TRACE,
            json_bytes: json_bytes as f64 / sampled as f64,
            sample,
            query,
            _folder: folder,
        })
    }

    async fn get_trace(&self, sizes: &Sizes) -> Result<Rounds> {
        let mut floor = BareSqlite::open(&self.file)?;
        let mut rounds = Rounds::new(sizes.rounds);
        while rounds.more() {
            let floor = async || {
                let start = Instant::now();
                for (trace_id, json) in &self.sample {
                    ensure!(floor.read(*trace_id)? == json.len(), "trace {trace_id} is not complete");
                    for event in json {
                        black_box(serde_json::from_str::<TraceEvent>(event)?);
                    }
                }
                Ok(seconds_each(start, self.sample.len()))
            };
            let path = async || get_traces(&self.storage, self.sample.iter().map(|(trace_id, _)| *trace_id)).await;
            rounds.round(floor, path).await?;
        }
        Ok(rounds)
    }

    fn bytes_an_event(&self) -> Result<f64> {
        Ok(std::fs::metadata(&self.file)?.len() as f64 / self.events as f64)
    }
}
