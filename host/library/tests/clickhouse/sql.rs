//! The tables for users, and the queries of `docs/clickhouse.md`.

use chrono::{DateTime, TimeDelta};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, TraceEvent};
use serde_json::json;

use super::{event, query, storage, trace};
use crate::server_cases::examples;

const PAGE: &str = include_str!("../../../../docs/clickhouse.md");

fn took(actor: &str, milliseconds: u64, time: DateTime<chrono::Utc>) -> TraceEvent {
    let mut event = TraceEvent { actor_id: actor.into(), ..event(time) };
    event.data.performance_metrics.execution_time_ns = Some(milliseconds * 1_000_000);
    event.data.custom_attributes = [("shard".to_owned(), json!({ "id": 3, "text": "a\0b" }))].into();
    event
}

#[tokio::test]
async fn the_documented_queries_return_the_documented_results() {
    let (server, config, storage) = storage().await;
    let start = "2026-11-22T10:00:00.123456789Z".parse::<DateTime<chrono::Utc>>().unwrap();
    let after = |seconds| start + TimeDelta::seconds(seconds);
    let failed = FlowTrace {
        flow_id: FlowId::new("invoices"),
        status: ExecutionStatus::Failed { error: "boom".into() },
        events: vec![took("fast", 1, after(1)), took("slow", 90, after(2)), took("slow", 110, after(5))],
        ..trace(start)
    };
    let well = FlowTrace {
        trace_id: reflow_tracing::TraceId::new(),
        status: ExecutionStatus::Completed,
        events: vec![],
        ..failed.clone()
    };
    for stored in [&failed, &well, &failed] {
        storage.store_trace(stored.clone()).await.unwrap();
    }
    let answers: Vec<_> = examples(PAGE)
        .map(|sql| query(&server, &config, &format!("{}\nFORMAT TSV", sql.replace("FROM ", "FROM {}."))))
        .collect();
    assert_eq!(
        answers,
        [
            "slow\t2\t100\t110\nfast\t1\t1\t1",
            "slow\t2\t100\nfast\t1\t1",
            "fast\t\\N\nslow\t1\nslow\t3",
            "invoices\t2\t1\t50",
            "3",
        ]
    );
}

#[tokio::test]
async fn the_tables_have_the_documented_columns() {
    let (server, config, _storage) = storage().await;
    let page = PAGE;
    for table in ["traces", "events", "event_metrics"] {
        let start = page.find(&format!("- `{table}`:")).expect("the page has a list") + table.len() + 5;
        let rest = &page[start..];
        let list = &rest[..rest.find("\n- ").or(rest.find("\n\n")).unwrap()].split(". A trace").next().unwrap();
        let columns = query(
            &server,
            &config,
            &format!("SELECT groupArray(name) FROM system.columns WHERE database = '{{}}' AND table = '{table}'"),
        );
        let named: Vec<_> = list.split('`').skip(1).step_by(2).filter(|name| !name.contains("Merge")).collect();
        assert!(named.len() > 5, "{named:?}");
        for name in named {
            assert!(columns.contains(&format!("'{name}'")), "no `{name}` among {columns}");
        }
    }
}
