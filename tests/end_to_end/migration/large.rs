//! One trace that is far larger than the memory limit for copying it.

use std::process::Stdio;

use chrono::{DateTime, TimeDelta};
use reflow_tracing::storage::{SqliteStorage, StorageBackend};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent};
use reflow_tracing_tests::{Backend, Setting, wait_watching_memory};

use super::figure;

const EVENTS: usize = 80_000;
const EVENT_BYTES: usize = 3_000;
/// Half of the size of the events.
const MOST: u64 = 120 << 20;

async fn store_large_trace(file: &std::path::Path) {
    let storage = SqliteStorage::new(file).await.expect("a new file");
    let trace = FlowTrace::new(FlowId::new("large"), FlowVersion::default());
    let trace_id = trace.trace_id;
    storage.store_trace(trace).await.expect("stored");
    let start = DateTime::from_timestamp(1_750_000_000, 0).expect("a time");
    for first in (0..EVENTS).step_by(2_000) {
        let events = (first..first + 2_000).map(|number| {
            let mut event =
                TraceEvent { timestamp: start + TimeDelta::microseconds(number as i64), ..Default::default() };
            event.data.error = Some(format!("{number:08}").repeat(EVENT_BYTES / 8));
            (trace_id, event)
        });
        storage.store_events(events.collect()).await.expect("stored");
    }
    storage.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_does_not_fit_into_memory_is_migrated_exported_and_imported() {
    let setting = Setting::new(Backend::Sqlite);
    // The caches of databases are not measured here.
    setting.write("[storage.sqlite]\ncache_size_mb = 4\n");
    store_large_trace(&setting.path().join("source.db")).await;

    let mut checksums = Vec::new();
    for command in [
        &["migrate", "--from", "sqlite:source.db", "--to", "sqlite:a.db", "--verify"][..],
        &["export", "--store", "sqlite:source.db", "large.jsonl.zst"],
        &["import", "large.jsonl.zst", "--store", "sqlite:b.db", "--verify"],
    ] {
        // Nor are the allocator's caches per thread, which vary between runs.
        let mut program = setting.command(command);
        program.env("MALLOC_ARENA_MAX", "1").stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = program.spawn().expect("it starts");
        let (status, peak) = wait_watching_memory(&mut child);
        let summary = std::io::read_to_string(child.stdout.take().expect("it is piped")).expect("UTF-8");
        assert!(status.success(), "{command:?}: {summary}");
        assert_eq!(figure(&summary, "events"), EVENTS.to_string());
        assert!(peak < MOST, "{command:?} took up to {} MiB", peak >> 20);
        println!("{}: {} MiB at most", command[0], peak >> 20);
        checksums.push(figure(&summary, "checksum"));
    }
    assert!(checksums.iter().all(|checksum| *checksum == checksums[0]), "{checksums:?}");
}
