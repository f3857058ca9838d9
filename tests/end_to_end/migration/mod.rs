//! Migration, export and import, as the library does them and as the program does.

mod files;
mod killed;
#[cfg(target_os = "linux")]
mod large;
mod pairs;
mod urls;

use chrono::{DateTime, TimeDelta};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use reflow_tracing::storage::conformance::generate;
use reflow_tracing::storage::{SqliteStorage, StorageBackend, StorageBackendExt};
use reflow_tracing::{FlowTrace, SortOrder, TraceEvent, TraceId, TraceQuery};
use uuid::Uuid;

/// Traces of every kind: most are small; one in a hundred may hold anything that can be stored.
fn traces(count: usize) -> Vec<FlowTrace> {
    let mut runner = TestRunner::deterministic();
    let (any, usual) = (generate::any_trace(), generate::pooled_trace());
    let mut drawn = |number: usize| {
        if number.is_multiple_of(100) {
            return any.new_tree(&mut runner).expect("it draws").current();
        }
        let mut trace = usual.new_tree(&mut runner).expect("it draws").current();
        // Three begin at the same time.
        let start =
            DateTime::from_timestamp(1_750_000_000, 0).expect("a time") + TimeDelta::milliseconds(number as i64 / 3);
        trace.trace_id = TraceId(Uuid::new_v4());
        trace.start_time = start;
        trace
    };
    (0..count)
        .map(|number| {
            let mut trace = drawn(number);
            trace.events.sort_by_key(|event| (event.timestamp, event.event_id));
            trace.events.dedup_by_key(|event| (event.timestamp, event.event_id));
            trace
        })
        .collect()
}

/// Everything that is stored: the traces, the earliest start first, and the events of those without a header where the
/// store can list them.
async fn everything(store: &dyn StorageBackend) -> (Vec<FlowTrace>, Vec<(TraceId, Vec<TraceEvent>)>) {
    let mut query = TraceQuery { limit: Some(500), order: SortOrder::OldestFirst, ..TraceQuery::default() };
    let mut traces = Vec::new();
    loop {
        let page = store.query_page(query.clone().into()).await.expect("a page");
        traces.extend(page.traces);
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => break,
        }
    }
    let mut headerless = Vec::new();
    for trace_id in store.headerless_traces(None, usize::MAX).await.unwrap_or_default() {
        headerless.push((trace_id, store.get_events(trace_id).await.expect("events")));
    }
    (traces, headerless)
}

/// The number in the line of a summary that begins with `name`.
#[track_caller]
fn figure(summary: &str, name: &str) -> String {
    let line = summary.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no line {name} in {summary}"));
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// A SQLite file with these traces.
async fn sqlite_with(file: &std::path::Path, traces: Vec<FlowTrace>) {
    let storage = SqliteStorage::new(file).await.expect("a new file");
    storage.store_traces(traces).await.expect("stored");
    storage.close().await.expect("closed");
}
