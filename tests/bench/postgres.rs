//! The PostgreSQL backend, on its own server.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend};
use reflow_tracing::{TraceId, TraceQuery};
use reflow_tracing_tests::servers::Postgres;

use crate::bare_postgres::{BarePostgres, Order, Rows};
use crate::measure::{Rounds, seconds_each};
use crate::paths::{PAGE, get_traces, pages, store, store_concurrently};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{EVENTS_A_TRACE, Workload, in_batches};
use crate::{BATCH, Sizes};

const BATCHES: Path = Path {
    name: "postgres: events in batches of 1,000",
    floor: "COPY of ready rows, 1,000 per commit, not idempotent",
    unit: Unit::Rate,
    reach: Reach::Speed(0.6),
};
const CONCURRENT: Path = Path {
    name: "postgres: 64 concurrent store_event",
    floor: "COPY of ready rows, 64 per commit, not idempotent",
    unit: Unit::Rate,
    reach: Reach::Speed(0.4),
};
const GET_TRACE: Path = Path {
    name: "postgres: get_trace, 20 events of 1,000,000",
    floor: "bare prepared selects",
    unit: Unit::Time,
    reach: Reach::Speed(0.6),
};
const PAGES: Path = Path {
    name: "postgres: query by flow and time, page 500",
    floor: "page 1",
    unit: Unit::Time,
    reach: Reach::Cost(2.0),
};

const WRITERS: usize = 64;

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    let [batches, concurrent, get_trace, deep_page] =
        [&BATCHES, &CONCURRENT, &GET_TRACE, &PAGES].map(|path| report.wants(path));
    if !(batches || concurrent || get_trace || deep_page) {
        return Ok(());
    }
    let server = Postgres::start();
    if batches {
        report.compared(&BATCHES, &in_large_batches(&server, sizes).await?);
    }
    if concurrent {
        report.compared(&CONCURRENT, &concurrently(&server, sizes).await?);
    }
    if get_trace || deep_page {
        let stored = Stored::new(&server, sizes).await?;
        if get_trace {
            report.compared(&GET_TRACE, &stored.get_trace(sizes).await?);
        }
        if deep_page {
            report.compared(&PAGES, &pages(&stored.storage, &stored.query, sizes).await?);
        }
    }
    Ok(())
}

fn config(server: &Postgres, schema: &str) -> PostgresConfig {
    PostgresConfig { connection_url: server.url("postgres"), schema_name: schema.into(), ..PostgresConfig::default() }
}

async fn in_large_batches(server: &Postgres, sizes: &Sizes) -> Result<Rounds> {
    let mut workload = Workload::new()?;
    let mut rows = Rows::new(&config(server, "batch_rows")).await?;
    let mut floor = BarePostgres::open(&config(server, "batch_floor")).await?;
    let storage = PostgresStorage::with_config(config(server, "batch_path")).await?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events);
        let count = events.len();
        let rows = rows.of(&events, Order::Traces, BATCH).await?;
        let floor = async || {
            let start = Instant::now();
            floor.store(&rows).await?;
            Ok(seconds_each(start, count))
        };
        rounds.round(floor, async || store(&storage, events).await).await?;
    }
    ensure!(storage.stats().await?.events == floor.events().await?, "path and floor stored different events");
    Ok(rounds)
}

async fn concurrently(server: &Postgres, sizes: &Sizes) -> Result<Rounds> {
    let mut workload = Workload::new()?;
    let mut rows = Rows::new(&config(server, "single_rows")).await?;
    let mut floor = BarePostgres::open(&config(server, "single_floor")).await?;
    let storage = Arc::new(PostgresStorage::with_config(config(server, "single_path")).await?);
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let share = (sizes.events / 2 / WRITERS).next_multiple_of(EVENTS_A_TRACE);
        let count = WRITERS * share;
        let events = workload.events(count);
        // The writers are in different traces, so the floor's commits reach into as many.
        let rows = rows.of(&events, Order::Turns, WRITERS).await?;
        let shares = in_batches(events, share);
        let floor = async || {
            let start = Instant::now();
            floor.store(&rows).await?;
            Ok(seconds_each(start, count))
        };
        rounds.round(floor, async || store_concurrently(&storage, shares).await).await?;
    }
    ensure!(storage.stats().await?.events == floor.events().await?, "path and floor stored different events");
    Ok(rounds)
}

/// A store to read from.
struct Stored {
    config: PostgresConfig,
    storage: PostgresStorage,
    /// Some of the traces.
    sample: Vec<TraceId>,
    /// Of all traces but the newest twentieth.
    query: TraceQuery,
}

impl Stored {
    async fn new(server: &Postgres, sizes: &Sizes) -> Result<Self> {
        /// Traces that are generated and stored at once.
        const AT_ONCE: usize = 250;
        /// Traces that a round reads.
        const SAMPLE: usize = 1_000;

        let config = config(server, "stored");
        let storage = PostgresStorage::with_config(config.clone()).await?;
        let mut workload = Workload::new()?;
        let count = sizes.stored_events / EVENTS_A_TRACE;
        let every = count.div_ceil(SAMPLE);
        let (mut sample, mut range) = (Vec::new(), None);
        for first in (0..count).step_by(AT_ONCE) {
            let traces: Vec<_> = (first..count.min(first + AT_ONCE)).map(|_| workload.trace(EVENTS_A_TRACE)).collect();
            for (number, trace) in (first..).zip(&traces) {
                if number % every == 0 {
                    sample.push(trace.trace_id);
                }
                if number < count - count / 20 {
                    let from = range.map_or(trace.start_time, |(from, _)| from);
                    range = Some((from, trace.start_time));
                }
            }
            storage.store_traces(traces).await?;
        }
        server.query("VACUUM ANALYZE");
        // Adjacent traces would share cached pages.
        let stride = sample.len() / 2 + 1;
        let order = (0..sample.len()).map(|number| number * stride % sample.len());
        let sample = order.map(|number| sample[number]).collect();
        let query = TraceQuery {
            flow_id: Some(Workload::flow()),
            time_range: range,
            limit: Some(PAGE),
            ..TraceQuery::default()
        };
        Ok(Self { config, storage, sample, query })
    }

    async fn get_trace(&self, sizes: &Sizes) -> Result<Rounds> {
        let mut floor = BarePostgres::open(&self.config).await?;
        let mut rounds = Rounds::new(sizes.rounds);
        while rounds.more() {
            let floor = async || {
                let start = Instant::now();
                for trace_id in &self.sample {
                    let events = floor.read(*trace_id).await?;
                    ensure!(events == EVENTS_A_TRACE, "trace {trace_id} is not complete");
                }
                Ok(seconds_each(start, self.sample.len()))
            };
            let path = async || get_traces(&self.storage, self.sample.iter().copied()).await;
            rounds.round(floor, path).await?;
        }
        Ok(rounds)
    }
}
