//! The host process, from the sockets of senders to the store and back.

mod bare_server;
mod client;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use reflow_tracing::FlowTrace;
use reflow_tracing::storage::{
    ClickHouseConfig, ClickHouseStorage, PostgresConfig, PostgresStorage, SqliteStorage, StorageBackend,
};
use reflow_tracing_tests::servers::{ClickHouse, Postgres};
use reflow_tracing_tests::{Backend, Host, Setting};

use crate::measure::{Rounds, seconds_each};
use crate::paths::store;
use crate::plugin::relational;
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{Workload, in_batches};
use crate::{BATCH, Sizes};
use bare_server::BareServer;
use client::Sender;

const BARE: &str = "bare server of the same libraries";
const PROCESSOR: Path =
    Path { name: "host: processor time an event, sqlite", floor: BARE, unit: Unit::Time, reach: Reach::Speed(0.8) };
const CONNECTIONS: Path =
    Path { name: "host: events over 16 WebSockets, sqlite", floor: BARE, unit: Unit::Rate, reach: Reach::Speed(0.8) };
const LATENCIES: [(usize, [Path; 2]); 3] = [
    (1, [latency("host: to acknowledgement, 1 sender, p50"), latency("host: to acknowledgement, 1 sender, p99")]),
    (16, [latency("host: to acknowledgement, 16 senders, p50"), latency("host: to acknowledgement, 16 senders, p99")]),
    (
        200,
        [latency("host: to acknowledgement, 200 senders, p50"), latency("host: to acknowledgement, 200 senders, p99")],
    ),
];
const POSTGRES: Path = Path {
    name: "host: events over 16 WebSockets, postgres",
    floor: "in process, 16 writers, batches of 1,000",
    unit: Unit::Rate,
    reach: Reach::Speed(0.8),
};
const CLICKHOUSE: Path = Path {
    name: "host: events over 16 WebSockets, clickhouse",
    floor: "in process, 16 writers, batches of 1,000",
    unit: Unit::Rate,
    reach: Reach::Speed(0.8),
};
const SQLITE: Path = Path {
    name: "host: events over one WebSocket, sqlite",
    floor: "in process, batches of 1,000",
    unit: Unit::Rate,
    reach: Reach::Report,
};
const RELATIONAL: Path = Path {
    name: "host: events over one WebSocket, relational",
    floor: "in process, batches of 1,000",
    unit: Unit::Rate,
    reach: Reach::Report,
};

const fn latency(name: &'static str) -> Path {
    Path { name, floor: BARE, unit: Unit::Time, reach: Reach::Report }
}

/// The connections that send at the same time, or the writers.
const SENDERS: usize = 16;

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    #[cfg(target_os = "linux")]
    if report.wants(&PROCESSOR) {
        report.compared(&PROCESSOR, &processor_time(folder.path(), sizes).await?);
    }
    if report.wants(&CONNECTIONS) {
        report.compared(&CONNECTIONS, &over_connections(folder.path(), sizes).await?);
    }
    for (senders, [p50, p99]) in &LATENCIES {
        let wanted = [report.wants(p50), report.wants(p99)];
        if wanted.contains(&true) {
            let rounds = latencies(folder.path(), *senders, sizes).await?;
            for (path, rounds) in [p50, p99].into_iter().zip(&rounds) {
                report.compared(path, rounds);
            }
        }
    }
    if report.wants(&POSTGRES) {
        let server = Postgres::start();
        let config = |schema: &str| PostgresConfig {
            connection_url: server.url("postgres"),
            schema_name: schema.into(),
            ..PostgresConfig::default()
        };
        let storage = PostgresStorage::with_config(config("ingest_floor")).await?;
        let setting = Setting::new(Backend::Sqlite);
        setting.write(&format!(
            "[server]\nport = 0\n[storage]\nbackend = \"postgres\"\n[storage.postgres]\nconnection_url = \"{}\"\n\
             schema_name = \"ingest_path\"\n",
            server.url("postgres")
        ));
        report.compared(&POSTGRES, &beside_writers(&setting, storage, sizes).await?);
    }
    if report.wants(&CLICKHOUSE) {
        let server = ClickHouse::start();
        let config =
            ClickHouseConfig { url: server.url(), database: "ingest_floor".into(), ..ClickHouseConfig::default() };
        let storage = ClickHouseStorage::with_config(config).await?;
        let setting = Setting::new(Backend::Sqlite);
        setting.write(&format!(
            "[server]\nport = 0\n[storage]\nbackend = \"clickhouse\"\n[storage.clickhouse]\nurl = \"{}\"\n\
             database = \"ingest_path\"\n",
            server.url()
        ));
        report.compared(&CLICKHOUSE, &beside_writers(&setting, storage, sizes).await?);
    }
    if report.wants(&SQLITE) {
        let storage = SqliteStorage::new(folder.path().join("native.db")).await?;
        report.compared(&SQLITE, &host(Backend::Sqlite, &storage, sizes).await?);
    }
    if report.wants(&RELATIONAL) {
        let storage = relational(folder.path()).await?;
        report.compared(&RELATIONAL, &host(Backend::Relational, &storage, sizes).await?);
    }
    Ok(())
}

/// What a server spends on events that come over one connection.
#[cfg(target_os = "linux")]
async fn processor_time(folder: &std::path::Path, sizes: &Sizes) -> Result<Rounds> {
    let (setting, bare) = (Setting::new(Backend::Sqlite), BareServer::start(&folder.join("processor.db"))?);
    let host = Host::start(&setting);
    let mut workload = Workload::new()?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let trace = workload.trace(sizes.events);
        let measured = async |url: &str, process: u32| {
            let mut sender = Sender::connect(url, &trace).await?;
            let before = processor_seconds(process)?;
            sender.send_all().await?;
            let spent = processor_seconds(process)? - before;
            sender.close().await?;
            Ok(spent / sizes.events as f64)
        };
        let floor = async || measured(&bare.url, bare.process_id()).await;
        let path = async || measured(&host.url, host.process_id()).await;
        rounds.round(floor, path).await?;
    }
    Ok(rounds)
}

/// The processor time of all threads of a process, in seconds.
#[cfg(target_os = "linux")]
pub fn processor_seconds(process: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let file = thread?.path().join("schedstat");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let spent = text.split(' ').next().context("an empty line")?;
        nanoseconds += spent.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

async fn over_connections(folder: &std::path::Path, sizes: &Sizes) -> Result<Rounds> {
    let (setting, bare) = (Setting::new(Backend::Sqlite), BareServer::start(&folder.join("connections.db"))?);
    let host = Host::start(&setting);
    let mut workload = Workload::new()?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let traces = traces(&mut workload, SENDERS, sizes.events / SENDERS);
        let floor = async || send_concurrently(&bare.url, &traces).await;
        let path = async || send_concurrently(&host.url, &traces).await;
        rounds.round(floor, path).await?;
    }
    Ok(rounds)
}

fn traces(workload: &mut Workload, count: usize, events: usize) -> Vec<FlowTrace> {
    (0..count).map(|_| workload.trace(events)).collect()
}

async fn connect(url: &str, traces: &[FlowTrace]) -> Result<Vec<Sender>> {
    try_join_all(traces.iter().map(|trace| Sender::connect(url, trace))).await
}

/// Sends each trace over a connection of its own. The seconds that an event takes, until the last one is acknowledged.
async fn send_concurrently(url: &str, traces: &[FlowTrace]) -> Result<f64> {
    let senders = connect(url, traces).await?;
    let count = traces.iter().map(|trace| trace.events.len()).sum();
    let start = Instant::now();
    let sending = senders.into_iter().map(|mut sender| {
        tokio::spawn(async move {
            sender.send_all().await?;
            anyhow::Ok(sender)
        })
    });
    let sent = try_join_all(sending.collect::<Vec<_>>()).await?;
    let cost = seconds_each(start, count);
    for sender in sent {
        sender?.close().await?;
    }
    Ok(cost)
}

/// The 50th and the 99th percentile of the time from sending an event to its acknowledgement, with so many senders, each of
/// which waits for the one before it sends the next.
async fn latencies(folder: &std::path::Path, senders: usize, sizes: &Sizes) -> Result<[Rounds; 2]> {
    let bare = BareServer::start(&folder.join(format!("latency_{senders}.db")))?;
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let mut workload = Workload::new()?;
    let mut rounds = [Rounds::new(sizes.rounds), Rounds::new(sizes.rounds)];
    while rounds[0].more() {
        let traces = traces(&mut workload, senders, (sizes.events / 10 / senders).max(10));
        let floor = percentiles(&bare.url, &traces).await?;
        let path = percentiles(&host.url, &traces).await?;
        for (rounds, (floor, path)) in rounds.iter_mut().zip(floor.into_iter().zip(path)) {
            rounds.round(async || Ok(floor), async || Ok(path)).await?;
        }
    }
    Ok(rounds)
}

async fn percentiles(url: &str, traces: &[FlowTrace]) -> Result<[f64; 2]> {
    let senders = connect(url, traces).await?;
    let sending = senders.into_iter().map(|mut sender| {
        tokio::spawn(async move {
            let times = sender.send_each().await?;
            sender.close().await?;
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for sent in try_join_all(sending.collect::<Vec<_>>()).await? {
        times.extend(sent?);
    }
    times.sort_unstable();
    Ok([50, 99].map(|percent| times.get(times.len() * percent / 100).map_or(f64::NAN, Duration::as_secs_f64)))
}

/// A host with a database, beside as many writers in this process as the host has connections.
async fn beside_writers<S>(setting: &Setting, storage: S, sizes: &Sizes) -> Result<Rounds>
where
    S: StorageBackend + 'static,
{
    let storage = Arc::new(storage);
    let host = Host::start(setting);
    let mut workload = Workload::new()?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let traces = traces(&mut workload, SENDERS, sizes.events / SENDERS);
        let count = traces.iter().map(|trace| trace.events.len()).sum();
        let floor = async || {
            let shares = traces.iter().map(|trace| {
                let events = trace.events.iter().map(|event| (trace.trace_id, event.clone()));
                in_batches(events.collect(), BATCH)
            });
            let shares: Vec<_> = shares.collect();
            let start = Instant::now();
            let writers = shares.into_iter().map(|batches| {
                let storage = Arc::clone(&storage);
                tokio::spawn(async move {
                    for batch in batches {
                        storage.store_events(batch).await?;
                    }
                    anyhow::Ok(())
                })
            });
            for written in try_join_all(writers.collect::<Vec<_>>()).await? {
                written?;
            }
            Ok(seconds_each(start, count))
        };
        let path = async || send_concurrently(&host.url, &traces).await;
        rounds.round(floor, path).await?;
    }
    Ok(rounds)
}

/// A host with `backend`, beside the same kind of storage in this process.
async fn host(backend: Backend, storage: &dyn StorageBackend, sizes: &Sizes) -> Result<Rounds> {
    let setting = Setting::new(backend);
    let host = Host::start(&setting);
    let mut workload = Workload::new()?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        // Each connection sends one trace.
        let trace = workload.trace(sizes.events);
        let floor = async || {
            let events = trace.events.iter().map(|event| (trace.trace_id, event.clone()));
            store(storage, events.collect()).await
        };
        let path = async || send_concurrently(&host.url, std::slice::from_ref(&trace)).await;
        rounds.round(floor, path).await?;
    }
    Ok(rounds)
}
