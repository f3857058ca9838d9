//! What a query costs: the server's plans.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use futures::StreamExt;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend};
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, SortOrder, TraceEvent, TraceEventKind, TraceQuery};

use super::{config, event, query, storage, trace};
use crate::servers::Postgres;

/// Every predicate by itself, each finding little of what [`fill`] stores.
fn questions() -> Vec<(&'static str, TraceQuery)> {
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let any = TraceQuery { limit: Some(10), ..TraceQuery::default() };
    let tags = [("team".to_owned(), "blue 7".to_owned())].into();
    vec![
        ("nothing", any.clone()),
        ("oldest", TraceQuery { order: SortOrder::OldestFirst, ..any.clone() }),
        ("flow", TraceQuery { flow_id: Some(FlowId::new("flow 7")), ..any.clone() }),
        ("execution", TraceQuery { execution_id: Some(Default::default()), ..any.clone() }),
        ("time", TraceQuery { time_range: Some((start, start + TimeDelta::seconds(5))), ..any.clone() }),
        ("status", TraceQuery { status: Some(ExecutionStatus::Failed { error: String::new() }), ..any.clone() }),
        ("error", TraceQuery { status: Some(ExecutionStatus::Failed { error: "boom".into() }), ..any.clone() }),
        ("actor", TraceQuery { actor_filter: Some("ctor".into()), ..any.clone() }),
        ("kinds", TraceQuery { event_types: Some(vec![TraceEventKind::ActorCreated]), ..any.clone() }),
        ("tags", TraceQuery { tags, ..any.clone() }),
        ("at least", TraceQuery { min_duration: Some(Duration::from_secs(19_995)), ..any.clone() }),
        ("at most", TraceQuery { max_duration: Some(Duration::from_secs(5)), ..any.clone() }),
        ("has error", TraceQuery { has_error: Some(true), ..any.clone() }),
        ("has none", TraceQuery { has_error: Some(false), ..any }),
    ]
}

async fn fill(server: &Postgres, config: &PostgresConfig, storage: &PostgresStorage) {
    for part in 0..20 {
        let traces = (part * 1_000..(part + 1) * 1_000).map(|number: i64| {
            let start_time = DateTime::from_timestamp(1_700_000_000 + number, 0).unwrap();
            let mut trace = FlowTrace {
                flow_id: FlowId::new(format!("flow {}", number % 500)),
                end_time: Some(start_time + TimeDelta::seconds(number)),
                status: match number % 200 {
                    0 => ExecutionStatus::Failed { error: "boom".into() },
                    _ => ExecutionStatus::Completed,
                },
                ..trace(start_time)
            };
            trace.metadata.tags.insert("team".into(), format!("blue {}", number % 500));
            trace
        });
        storage.store_traces(traces.collect()).await.unwrap();
    }
    query(server, config, "ANALYZE");
}

/// So many sequential scans of the large tables the server has counted. A session's are counted once it has ended.
fn sequential_scans(server: &Postgres, config: &PostgresConfig) -> u64 {
    let patience = Instant::now() + Duration::from_secs(60);
    while server.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reflow-tracing'") != "0" {
        assert!(Instant::now() < patience, "the sessions of a closed store did not end");
    }
    let scans = "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE schemaname = current_schema() \
                 AND (relname = 'trace' OR relname LIKE 'event%')";
    query(server, config, scans).parse().unwrap()
}

#[tokio::test]
async fn no_predicate_reads_a_large_table_from_end_to_end() {
    // Of its own: the sessions of other tests would be waited for.
    let server = Postgres::start();
    for enable_partitioning in [false, true] {
        let config = PostgresConfig { enable_partitioning, ..config(&server) };
        let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
        fill(&server, &config, &storage).await;
        storage.close().await.unwrap();
        let mut scans = sequential_scans(&server, &config);
        for (name, question) in questions() {
            let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
            let page = storage.query_page(question.clone()).await.unwrap();
            assert_eq!(page.traces.is_empty(), name == "execution", "{name}: the question finds what it is meant to");
            if let Some(page_token) = page.next_page_token {
                storage.query_page(TraceQuery { page_token: Some(page_token), ..question }).await.unwrap();
            }
            storage.close().await.unwrap();
            let after = sequential_scans(&server, &config);
            assert_eq!(after, scans, "{name}, partitioned: {enable_partitioning}");
            scans = after;
        }
    }
}

#[tokio::test]
async fn events_are_streamed_a_part_at_a_time() {
    let (_server, _config, storage) = storage().await;
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let events: Vec<TraceEvent> = (0..2_500).map(|number| event(start + TimeDelta::nanoseconds(number))).collect();
    let stored = FlowTrace { events, ..trace(start) };
    storage.store_trace(stored.clone()).await.unwrap();
    let streamed: Vec<_> = storage.stream_events(stored.trace_id).map(Result::unwrap).collect().await;
    assert_eq!(streamed, stored.events);

    // As many streams as connections, each left after its first event: the connections come back.
    for _ in 0..8 {
        let first = storage.stream_events(stored.trace_id).next().await.unwrap().unwrap();
        assert_eq!(first, stored.events[0]);
    }
    assert_eq!(storage.get_events(stored.trace_id).await.unwrap(), stored.events);
}
