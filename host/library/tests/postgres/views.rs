//! The views for users, and the queries of `docs/postgresql.md`.

use chrono::{DateTime, TimeDelta};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, MessageSnapshot, TraceEvent, TraceEventData, TraceEventType};
use serde_json::json;

use super::{event, query, storage, trace};
use crate::server_cases::examples;

fn slow(actor: &str, milliseconds: u64, time: DateTime<chrono::Utc>) -> TraceEvent {
    let mut event = TraceEvent {
        actor_id: actor.into(),
        event_type: TraceEventType::DataFlow { to_actor: "sink".into(), to_port: "in".into() },
        data: TraceEventData {
            message: Some(MessageSnapshot { message_type: "Row".into(), size_bytes: u64::MAX, ..Default::default() }),
            custom_attributes: [("shard".to_owned(), json!({ "id": 3, "text": "a\0b" }))].into(),
            ..Default::default()
        },
        ..event(time)
    };
    event.data.performance_metrics.execution_time_ns = Some(milliseconds * 1_000_000);
    event
}

fn session() -> FlowTrace {
    let start = "2026-11-22T10:00:00.123456789Z".parse::<DateTime<chrono::Utc>>().unwrap();
    let after = |seconds| start + TimeDelta::seconds(seconds);
    let mut stored = FlowTrace {
        flow_id: FlowId::new("invoices"),
        end_time: Some(after(10)),
        status: ExecutionStatus::Failed { error: "boom".into() },
        events: vec![slow("fast", 1, after(1)), slow("slow", 90, after(2)), slow("slow", 110, after(5))],
        ..trace(start)
    };
    stored.metadata.tags.insert("team".into(), "blue".into());
    stored
}

#[tokio::test]
async fn the_views_have_the_documented_columns() {
    let (server, config, storage) = storage().await;
    let stored = session();
    storage.store_trace(stored.clone()).await.unwrap();
    let columns = |view: &str| {
        let sql = format!(
            "SELECT string_agg(attname || ' ' || format_type(atttypid, NULL), ', ' ORDER BY attnum) FROM pg_attribute \
             WHERE attrelid = '{view}'::regclass"
        );
        query(&server, &config, &sql)
    };
    let traces = "trace_id uuid, flow_id text, execution_id uuid, start_time timestamp with time zone, \
                  end_time timestamp with time zone, status text, metadata jsonb, ";
    assert!(columns("traces").starts_with(traces), "{}", columns("traces"));
    let events = "event_id uuid, trace_id uuid, timestamp timestamp with time zone, event_type text, actor_id text, \
                  data jsonb, ";
    assert!(columns("trace_events").starts_with(events), "{}", columns("trace_events"));

    let header = query(
        &server,
        &config,
        "SELECT trace_id, flow_id, start_time AT TIME ZONE 'UTC', status, error, metadata -> 'tags' ->> 'team', \
         round(duration_ms, 3), start_time_ns FROM traces",
    );
    let expected = format!(
        "{}|invoices|2026-11-22 10:00:00.123456|Failed|boom|blue|10000.000|1795341600123456789",
        stored.trace_id
    );
    assert_eq!(header, expected);
    let event = query(
        &server,
        &config,
        "SELECT data -> 'message' ->> 'size_bytes', data -> 'custom_attributes' -> 'shard' ->> 'text', \
         attributes -> 'shard' ->> 'id', execution_time_ns FROM trace_events ORDER BY \"timestamp\" LIMIT 1",
    );
    assert_eq!(event, "18446744073709551615|a\u{fffd}b|3|1000000");
}

#[tokio::test]
async fn the_documented_queries_return_the_documented_results() {
    let (server, config, storage) = storage().await;
    storage.store_trace(session()).await.unwrap();
    let answers: Vec<_> =
        examples(include_str!("../../../../docs/postgresql.md")).map(|sql| query(&server, &config, sql)).collect();
    assert_eq!(answers[0], "slow|2|100.000\nfast|1|1.000");
    assert_eq!(answers[1], "fast|\nslow|00:00:01\nslow|00:00:03");
    assert_eq!(answers[2], "invoices|1|1|100.0");
    assert_eq!(answers[3], "3");
    assert_eq!(answers.len(), 4);
}
