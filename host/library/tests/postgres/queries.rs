//! What a query costs: the server's plans, as `auto_explain` writes them into its log.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures::StreamExt;
use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageBackendExt};
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, SortOrder, TraceEvent, TraceEventKind, TraceQuery};

use super::{config, event, query, storage, trace};
use crate::servers::Postgres;

/// Every predicate by itself; those with a value find little of what [`fill`] stores of so many traces.
fn questions(traces: i64) -> Vec<(&'static str, TraceQuery)> {
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let any = TraceQuery { limit: Some(10), ..TraceQuery::default() };
    let longest = Duration::from_millis(traces.cast_unsigned() - 200);
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
        ("at least", TraceQuery { min_duration: Some(longest), ..any.clone() }),
        ("at most", TraceQuery { max_duration: Some(Duration::from_millis(100)), ..any.clone() }),
        ("has error", TraceQuery { has_error: Some(true), ..any.clone() }),
        ("has none", TraceQuery { has_error: Some(false), ..any }),
    ]
}

/// So many traces, of one event each.
async fn fill(storage: &PostgresStorage, traces: i64) {
    const AT_ONCE: i64 = 1_000;
    for part in 0..traces / AT_ONCE {
        let traces = (part * AT_ONCE..(part + 1) * AT_ONCE).map(|number| {
            let start_time = DateTime::from_timestamp(1_700_000_000 + number, 0).unwrap();
            let mut trace = FlowTrace {
                flow_id: FlowId::new(format!("flow {}", number % 500)),
                end_time: Some(start_time + TimeDelta::milliseconds(number)),
                status: match number % 200 {
                    0 => ExecutionStatus::Failed { error: "boom".into() },
                    _ => ExecutionStatus::Completed,
                },
                ..trace(start_time)
            };
            trace.metadata.tags.insert("team".into(), format!("blue {}", number % 500));
            let shard = serde_json::json!({ "id": number % 500 });
            trace.events[0].data.custom_attributes.insert("shard".into(), shard);
            trace
        });
        storage.store_traces(traces.collect()).await.unwrap();
    }
}

/// With sessions that log the plan of every statement, and these settings.
fn explained(config: &PostgresConfig, settings: &str) -> PostgresConfig {
    let url = format!(
        "{}&options[session_preload_libraries]=auto_explain&options[auto_explain.log_min_duration]=0{settings}",
        config.connection_url
    );
    PostgresConfig { connection_url: url, max_connections: 1, ..config.clone() }
}

/// The plans in a server's log, each with its statement.
fn plans(log: &str) -> Vec<String> {
    let after = log.split("  plan:\n").skip(1);
    // The lines of a plan are indented; the next message is not.
    after.map(|rest| rest.lines().take_while(|line| line.starts_with('\t')).collect::<Vec<_>>().join("\n")).collect()
}

/// The tables and partitions that hold what [`fill`] stored.
fn filled(server: &Postgres, config: &PostgresConfig) -> Vec<String> {
    let tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= 500 AND relname ~ '^(trace|event)' \
                  AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'event'::regclass)";
    let filled: Vec<_> = query(server, config, tables).lines().map(str::to_owned).collect();
    assert!(filled.len() >= 2, "{filled:?}");
    filled
}

/// The plan reads one of these tables from its beginning to its end.
fn reads_all(plan: &str, tables: &[String]) -> bool {
    let scanned = plan.lines().filter_map(|line| line.split_once("Seq Scan on "));
    let mut scanned = scanned.filter_map(|(_, table)| table.split_whitespace().next());
    scanned.any(|table| tables.iter().any(|of| of == table))
}

/// Every kind of question, and what goes with writing; the plans of all of it.
async fn plans_of_everything(server: &Postgres, config: PostgresConfig, traces: i64) -> Vec<String> {
    let before = server.log().len();
    let storage = PostgresStorage::with_config(config).await.unwrap();
    let mut pages = 0;
    for (name, question) in questions(traces) {
        let page = storage.query_page(question.clone().into()).await.unwrap();
        assert_eq!(page.traces.is_empty(), name == "execution", "{name}: the question finds what it is meant to");
        pages += 1;
        if let Some(page_token) = page.next_page_token {
            storage.query_page((TraceQuery { page_token: Some(page_token), ..question }).into()).await.unwrap();
            pages += 1;
        }
    }
    // More often than it takes the server to keep a plan.
    for _ in 0..8 {
        let written = FlowTrace { events: events(50), ..trace(DateTime::from_timestamp(1_700_000_000, 0).unwrap()) };
        storage.store_trace(written.clone()).await.unwrap();
        storage.store_event(written.trace_id, event(written.start_time)).await.unwrap();
        storage.store_events(events(50).into_iter().map(|event| (written.trace_id, event)).collect()).await.unwrap();
        assert!(storage.get_trace(written.trace_id).await.unwrap().is_some());
        assert_eq!(storage.get_events(written.trace_id).await.unwrap().len(), 101);
        assert_eq!(storage.stream_events(written.trace_id).count().await, 101);
        assert!(storage.get_headers(vec![written.trace_id]).await.unwrap()[0].is_some());
        assert!(storage.delete_trace(written.trace_id).await.unwrap());
    }
    storage.close().await.unwrap();
    let log = server.log();
    let plans = plans(&log[before..]);
    let of_pages = plans.iter().filter(|plan| plan.contains("ORDER BY start_time")).count();
    assert!(of_pages >= pages, "{of_pages} of {pages} plans are in the log:\n{}", plans.join("\n\n"));
    plans
}

fn events(count: i64) -> Vec<TraceEvent> {
    let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    (1..=count).map(|number| event(start + TimeDelta::nanoseconds(number))).collect()
}

/// The planner is left to itself, on tables that are large enough for it to have a choice.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_answers_every_predicate_on_large_tables() {
    const TRACES: i64 = 50_000;
    // Of its own: its log is read.
    let server = Postgres::start();
    for enable_partitioning in [false, true] {
        let config = PostgresConfig { enable_partitioning, enable_gin_index: true, ..config(&server) };
        let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
        fill(&storage, TRACES).await;
        storage.close().await.unwrap();
        query(&server, &config, "ANALYZE");
        let large = filled(&server, &config);
        let free = explained(&config, "&options[enable_seqscan]=on");
        for plan in plans_of_everything(&server, free.clone(), TRACES).await {
            assert!(!reads_all(&plan, &large), "partitioned: {enable_partitioning}\n{plan}");
        }

        // What is to be noticed is noticed.
        let before = server.log().len();
        let storage = PostgresStorage::with_config(free).await.unwrap();
        assert!(storage.stats().await.unwrap().events >= 50_000);
        storage.close().await.unwrap();
        let log = server.log();
        assert!(plans(&log[before..]).iter().any(|plan| reads_all(plan, &large)), "{}", &log[before..]);

        let attributes = r#"EXPLAIN SELECT event_id FROM trace_events WHERE attributes @> '{"shard": {"id": 3}}'"#;
        let plan = query(&server, &config, attributes);
        assert!(plan.contains("Bitmap Index Scan on event_") && !reads_all(&plan, &large), "{plan}");
    }
}

/// The server keeps plans, and may have made them while the tables were small.
#[tokio::test(flavor = "multi_thread")]
async fn plans_use_an_index_on_small_tables_too() {
    const TRACES: i64 = 1_000;
    let server = Postgres::start();
    let config = config(&server);
    let storage = PostgresStorage::with_config(config.clone()).await.unwrap();
    fill(&storage, TRACES).await;
    storage.close().await.unwrap();
    query(&server, &config, "ANALYZE");
    let filled = filled(&server, &config);
    let plans = |settings| plans_of_everything(&server, explained(&config, settings), TRACES);
    let left_to_itself = plans("&options[enable_seqscan]=on").await;
    assert!(left_to_itself.iter().any(|plan| reads_all(plan, &filled)), "the tables are small");
    for plan in plans("").await {
        assert!(!reads_all(&plan, &filled), "{plan}");
    }
}

#[tokio::test]
async fn events_are_streamed_in_parts() {
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
