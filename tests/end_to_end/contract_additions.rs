//! What contract 0.1.1 added, through a component: fields, presence, JSON, events over `keyvalue`, optional exports.

use std::time::Duration;

use reflow_tracing::plugin::{Grants, Limits, PluginBackend, PluginConfig};
use reflow_tracing::storage::{StorageBackend, StorageBackendExt};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceEventType};

use reflow_tracing_tests::plugin;

use crate::probe::Probe;

async fn probe(buckets: &[&str]) -> Probe {
    let keyvalue = buckets.iter().map(|label| ((*label).into(), "memory:".into())).collect();
    Probe::load(PluginConfig { grants: Grants { keyvalue, ..Grants::default() }, ..PluginConfig::default() }).await
}

fn at(nanos: i64, event: TraceEvent) -> TraceEvent {
    TraceEvent { timestamp: chrono::DateTime::from_timestamp_nanos(nanos), ..event }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_sees_targets_attributes_the_flow_and_the_whole_event() {
    let probe = probe(&["fields"]).await;
    let trace = FlowTrace::new(FlowId::new("orders"), FlowVersion::default());
    let other = FlowTrace::new(FlowId::new("unknown"), FlowVersion::default());
    let trace_id = trace.trace_id;
    probe.backend.store_trace(trace).await.expect("a header");
    let mut flow = TraceEvent { actor_id: "parser".into(), ..TraceEvent::default() };
    flow.event_type = TraceEventType::DataFlow { to_actor: "writer".into(), to_port: "in".into() };
    flow.data.custom_attributes.insert("order".into(), serde_json::json!([7, "x"]));
    let flow = at(1, flow);
    let mut failed = TraceEvent { event_type: TraceEventType::ActorFailed, ..TraceEvent::default() };
    failed.data.error = Some(String::new());
    let failed = at(2, failed);
    let plain = at(3, TraceEvent { actor_id: "writer".into(), ..TraceEvent::default() });
    let events = vec![(trace_id, flow.clone()), (trace_id, failed), (other.trace_id, plain)];
    probe.backend.store_events(events).await.expect("events");

    let noted = async |field: &str| probe.ask("keyvalue-get", &[("label", "fields"), ("key", field)]).await;
    assert_eq!(noted("to-actor").await, "[writer] - -");
    assert_eq!(noted("to-port").await, "[in] - -");
    assert_eq!(noted("attributes").await, r#"[{"order":[7,"x"]}] - -"#);
    assert_eq!(noted("flow-id").await, "[orders] [orders] -");
    assert_eq!(noted("error").await, "- [] -", "an empty error is one");
    let json = noted("json").await;
    let first = json.strip_prefix('[').and_then(|json| json.split("] [").next()).expect("the first event");
    assert_eq!(first, serde_json::to_string(&flow).expect("JSON"));

    // The events went into the bucket by handle, and come back by handle.
    assert_eq!(probe.ask("scan-events", &[("label", "fields")]).await, "writer, of 3 more true");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_turned_into_json_and_back() {
    let probe = probe(&[]).await;
    let mut event = TraceEvent { actor_id: "caf\u{e9}".into(), ..TraceEvent::default() };
    event.data.custom_attributes.insert("exact".into(), serde_json::json!(0.1));
    event.more.insert("newer", serde_json::json!({"a": null}));
    let json = serde_json::to_string(&event).expect("JSON");
    let twice = probe.ask("render", &[("json", &json)]).await;
    assert_eq!(twice, format!("{json}\n{json}"));

    let header = FlowTrace::new(FlowId::new("orders"), FlowVersion::default());
    let json = serde_json::to_string(&header).expect("JSON");
    assert_eq!(probe.ask("render-header", &[("json", &json)]).await, json);

    for (what, json, problem) in [
        ("render", "{}", "number 0: "),
        ("render", "[1", "number 0: "),
        ("render-header", r#"{"trace_id": 1}"#, "trace_id"),
    ] {
        let error = probe.try_ask(what, &[("json", json)]).await.to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_drops_many_traces_at_once_if_it_exports_that() {
    let probe = probe(&["optional"]).await;
    let ended_by = chrono::DateTime::from_timestamp_nanos(77);
    assert_eq!(probe.backend.drop_oldest_partition(ended_by).await.expect("it answers"), Some(0));
    probe.ask("keyvalue-set", &[("label", "optional"), ("key", "77")]).await;
    assert_eq!(probe.backend.drop_oldest_partition(ended_by).await.expect("it answers"), Some(1));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let sql = [("default".into(), format!("sqlite:{}", folder.path().join("traces.db").display()))].into();
    let config = PluginConfig { grants: Grants { sql, ..Grants::default() }, ..PluginConfig::default() };
    let without = PluginBackend::load("relational", &plugin("relational"), &config).await.expect("it loads");
    assert_eq!(without.drop_oldest_partition(ended_by).await.expect("it answers"), None);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_maintained_once_a_minute_if_it_exports_that() {
    // The clock jumps whenever everything waits, also in a call, so no call may have a time limit that matters.
    let limits = Limits { call_timeout_ms: 3_600_000, ..Limits::default() };
    let keyvalue = [("optional".into(), "memory:".into())].into();
    let grants = Grants { keyvalue, ..Grants::default() };
    let probe = Probe::load(PluginConfig { grants, limits, ..PluginConfig::default() }).await;
    let maintained = async || probe.ask("keyvalue-get", &[("label", "optional"), ("key", "maintained")]).await;
    let times = async || maintained().await.bytes().next().unwrap_or_default();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_ne!(maintained().await, "none");
    let before = times().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(times().await >= before + 2);
    probe.backend.close().await.expect("closed");
}
