//! `sqlite_writer FILE JOURNAL_MODE`: stores events until it is killed, and prints the id of each once it is stored.

use std::error::Error;
use std::sync::Arc;

use reflow_tracing::storage::{JournalMode, SqliteConfig, SqliteStorage, StorageBackend, SynchronousMode};
use reflow_tracing::{FlowTrace, TraceId};
use reflow_tracing_tests::event_of_id;
use tokio::task::JoinSet;

const WRITERS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database_path, journal_mode] = &arguments[..] else { return Err("two arguments are needed".into()) };
    let journal_mode = match journal_mode.as_str() {
        "WAL" => JournalMode::WAL,
        "Delete" => JournalMode::Delete,
        other => return Err(format!("{other} is none of WAL, Delete").into()),
    };
    let storage = SqliteStorage::with_config(SqliteConfig {
        database_path: database_path.clone(),
        journal_mode,
        synchronous: SynchronousMode::Normal,
        ..SqliteConfig::default()
    });
    let storage = Arc::new(storage.await?);
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write_for_ever(storage.clone()));
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn write_for_ever(storage: Arc<SqliteStorage>) -> Result<(), reflow_tracing::storage::StorageError> {
    let trace = FlowTrace::default();
    let trace_id: TraceId = trace.trace_id;
    storage.store_trace(trace).await?;
    loop {
        let event = event_of_id(uuid::Uuid::new_v4());
        let event_id = event.event_id;
        storage.store_event(trace_id, event).await?;
        // A line is one write to the pipe, so it arrives completely or not at all.
        println!("{trace_id} {event_id}");
    }
}
