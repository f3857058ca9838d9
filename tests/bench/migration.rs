//! The program `reflow-tracing migrate`, from a SQLite file into a PostgreSQL server.

use std::path::Path as File;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Result, ensure};
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, SqliteStorage, StorageBackend};
use reflow_tracing::{FlowTrace, TraceId};
use reflow_tracing_tests::servers::Postgres;
use reflow_tracing_tests::{Backend, Setting, wait_watching_memory};

use crate::Sizes;
use crate::bare_sqlite::BareSqlite;
use crate::measure::{Rounds, seconds_each};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{EVENTS_A_TRACE, Workload};

const MIGRATION: Path = Path {
    name: "migration: 1,000,000 events, sqlite to postgres",
    floor: "the slower of bare selects and bulk writes of ready traces",
    unit: Unit::Rate,
    reach: Reach::Speed(0.7),
};
const MEMORY: Path =
    Path { name: "migration: peak memory of the process", floor: "", unit: Unit::Bytes, reach: Reach::Report };

/// Traces that are made, stored or written at a time.
const AT_ONCE: usize = 250;
/// Rounds; each migrates everything again.
const ROUNDS: usize = 3;
/// The share of the traces that the floor writes.
const WRITTEN: usize = 5;

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    let (rate, memory) = (report.wants(&MIGRATION), report.wants(&MEMORY));
    if !(rate || memory) {
        return Ok(());
    }
    let server = Postgres::start();
    let setting = Setting::new(Backend::Sqlite);
    let source = setting.path().join("source.db");
    let ids = fill(&source, sizes).await?;
    let mut rounds = Rounds::new(sizes.rounds.min(ROUNDS));
    let (mut number, mut peak) = (0, 0);
    while rounds.more() {
        number += 1;
        let floor = async || {
            let read = read_all(&source, &ids)?;
            let written = write_some(&server, number, ids.len() / WRITTEN).await?;
            Ok(read.max(written))
        };
        let path = async || {
            let (seconds, bytes) = migrate(&setting, &server, number, ids.len())?;
            peak = peak.max(bytes);
            Ok(seconds)
        };
        rounds.round(floor, path).await?;
    }
    if rate {
        report.compared(&MIGRATION, &rounds);
    }
    if memory {
        report.alone(&MEMORY, peak as f64);
    }
    Ok(())
}

async fn fill(file: &File, sizes: &Sizes) -> Result<Vec<TraceId>> {
    let storage = SqliteStorage::new(file).await?;
    let mut workload = Workload::new()?;
    let mut ids = Vec::new();
    while ids.len() < sizes.stored_events / EVENTS_A_TRACE {
        let traces: Vec<FlowTrace> = (0..AT_ONCE).map(|_| workload.trace(EVENTS_A_TRACE)).collect();
        ids.extend(traces.iter().map(|trace| trace.trace_id));
        storage.store_traces(traces).await?;
    }
    storage.close().await?;
    Ok(ids)
}

/// The cost of reading an event.
fn read_all(file: &File, ids: &[TraceId]) -> Result<f64> {
    let mut bare = BareSqlite::open(file)?;
    let start = Instant::now();
    let mut events = 0;
    for trace_id in ids {
        events += bare.read(*trace_id)?;
    }
    ensure!(events == ids.len() * EVENTS_A_TRACE, "the file holds {events} events");
    Ok(seconds_each(start, events))
}

/// The cost of storing an event in the target, with ready traces and parallel batches.
async fn write_some(server: &Postgres, number: usize, count: usize) -> Result<f64> {
    let config = config(server, &format!("floor_{number}"));
    let storage = std::sync::Arc::new(PostgresStorage::with_config(config).await?);
    let mut workload = Workload::new()?;
    let batches: Vec<Vec<_>> =
        (0..count / AT_ONCE).map(|_| (0..AT_ONCE).map(|_| workload.trace(EVENTS_A_TRACE)).collect()).collect();
    let events = batches.len() * AT_ONCE * EVENTS_A_TRACE;
    ensure!(events > 0, "there is nothing to write");
    let start = Instant::now();
    let writers = 4;
    let mut shares: Vec<Vec<_>> = (0..writers).map(|_| Vec::new()).collect();
    for (number, batch) in batches.into_iter().enumerate() {
        shares[number % writers].push(batch);
    }
    let writers: Vec<_> = shares
        .into_iter()
        .map(|share| {
            let storage = std::sync::Arc::clone(&storage);
            tokio::spawn(async move {
                for batch in share {
                    storage.store_traces(batch).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let seconds = seconds_each(start, events);
    storage.close().await?;
    server.query(&format!("DROP SCHEMA floor_{number} CASCADE"));
    Ok(seconds)
}

fn config(server: &Postgres, schema: &str) -> PostgresConfig {
    PostgresConfig { connection_url: server.url("postgres"), schema_name: schema.into(), ..PostgresConfig::default() }
}

/// The cost of migrating an event, from the start of the program to its end, and its peak memory.
fn migrate(setting: &Setting, server: &Postgres, number: usize, traces: usize) -> Result<(f64, u64)> {
    let schema = format!("target_{number}");
    setting.write(&format!("[storage.postgres]\nschema_name = \"{schema}\"\n"));
    let start = Instant::now();
    let mut child = setting
        .command(&["migrate", "--from", "sqlite:source.db", "--to", &server.url("postgres")])
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    let (status, peak) = wait_watching_memory(&mut child);
    let seconds = seconds_each(start, traces * EVENTS_A_TRACE);
    ensure!(status.success(), "the migration failed");
    let stored = server.query(&format!("SELECT count(*) FROM {schema}.event"));
    ensure!(stored == (traces * EVENTS_A_TRACE).to_string(), "{stored} events were migrated");
    server.query(&format!("DROP SCHEMA {schema} CASCADE"));
    Ok((seconds, peak))
}
