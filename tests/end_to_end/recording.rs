//! A session that Reflow's own client recorded, replayed into a host and read back.

use std::fs;

use reflow_tracing_protocol::{ExecutionStatus, FlowTrace, TraceEventType};
#[cfg(unix)]
use reflow_tracing_tests::servers::{ClickHouse, Postgres};
use reflow_tracing_tests::{Backend, Host, Setting, fixture};
use serde_json::Value;

const SESSION: &str = "reflow-session.jsonl";

/// The events of the recording, in the order of their times.
fn sent_events() -> Vec<Value> {
    let text = fs::read_to_string(fixture(SESSION)).expect("the recording is there");
    let frames = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let mut events: Vec<_> = frames.filter_map(|line| line["frame"]["RecordEvent"].get("event").cloned()).collect();
    events.sort_by_key(|event| event["timestamp"].as_str().map(str::to_owned));
    events
}

fn replay(setting: &Setting, host: &Host) -> String {
    let file = fixture(SESSION);
    setting.stdout(&["replay", file.to_str().expect("a path of ours"), "--url", &host.url])
}

/// The client gave every event another trace id and sent the first before `StartTrace`.
fn assert_is_the_session(traces: &[FlowTrace]) {
    let [trace] = traces else { panic!("expected one trace, found {}", traces.len()) };
    assert_eq!(trace.flow_id.as_str(), "network_session_1795371274");
    let stored: Vec<_> =
        trace.events.iter().map(|event| serde_json::to_value(event).expect("Reflow writes it")).collect();
    assert_eq!(stored.len(), 16);
    assert_eq!(stored, sent_events());
    assert!(matches!(trace.events[2].event_type, TraceEventType::DataFlow { .. }));
}

/// Runs a check on an empty store of each kind that outlives its host.
fn on_each_store(check: impl Fn(&Setting, &str)) {
    for backend in Backend::DURABLE {
        check(&Setting::new(backend), backend.name());
    }
    #[cfg(unix)]
    {
        check(&Setting::on_postgres(&Postgres::start()), "postgres");
        check(&Setting::on_clickhouse(&ClickHouse::shared()), "clickhouse");
    }
}

#[test]
fn a_recorded_session_comes_back_as_one_trace() {
    on_each_store(|setting, backend| {
        let host = Host::start(setting);
        replay(setting, &host);

        // While the host runs, and after it ended.
        assert_is_the_session(&setting.traces());
        host.stop();
        let traces = setting.traces();
        assert_is_the_session(&traces);
        assert_eq!(traces[0].status, ExecutionStatus::Completed, "{backend}");
        assert_eq!(traces[0].end_time, Some(traces[0].events[15].timestamp), "{backend}");
    });
}

#[test]
fn a_backend_is_swapped_by_one_line_of_configuration() {
    let setting = Setting::new(Backend::Sqlite);
    for backend in Backend::DURABLE {
        setting.choose(backend);
        assert!(setting.traces().is_empty(), "{backend:?} begins empty");
        let host = Host::start(&setting);
        replay(&setting, &host);
        host.stop();
        assert_is_the_session(&setting.traces());
    }
}

#[test]
fn a_trace_is_found_by_its_id() {
    let setting = Setting::new(Backend::Relational);
    let host = Host::start(&setting);
    replay(&setting, &host);
    let trace_id = setting.traces()[0].trace_id.to_string();

    let trace: FlowTrace =
        serde_json::from_str(&setting.stdout(&["get", &trace_id, "--format", "json"])).expect("a trace");
    assert_is_the_session(&[trace]);
    let table = setting.stdout(&["get", &trace_id]);
    assert!(table.contains("data_generator") && table.contains("DataFlow"), "{table}");

    let unknown = "00000000-0000-0000-0000-000000000000";
    assert!(setting.failure(&["get", unknown]).contains(unknown));
}

#[test]
fn a_session_replayed_twice_is_stored_as_two_executions() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    replay(&setting, &host);
    replay(&setting, &host);
    let traces = setting.traces();
    assert_eq!(traces.len(), 2);
    assert_ne!(traces[0].execution_id, traces[1].execution_id);
    assert_eq!(traces.iter().map(|trace| trace.events.len()).collect::<Vec<_>>(), [16, 16]);
}

/// Two processes of Reflow's newer protocol: the trace `orders` of both, and `refunds`, which fails.
#[test]
fn a_recorded_session_of_the_newer_protocol_comes_back_as_its_two_traces() {
    let file = fixture("reflow-session-2.jsonl");
    let text = fs::read_to_string(&file).expect("the recording is there");
    let frames: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON")["frame"].take()).collect();
    on_each_store(|setting, backend| {
        let host = Host::start(setting);
        let report = setting.stdout(&["replay", file.to_str().expect("a path of ours"), "--url", &host.url]);
        assert!(report.contains("failed        0"), "{report}");
        host.stop();
        let stored: Vec<Value> = serde_json::from_str(&setting.stdout(&["query", "--format", "json"])).expect("traces");
        assert_eq!(stored.len(), 2, "{backend}");
        for (flow, status) in [
            ("orders", Value::from("Completed")),
            ("refunds", serde_json::json!({"Failed": {"error": "no such order"}})),
        ] {
            let header = stored.iter().find(|trace| trace["flow_id"] == flow).expect("the trace is there");
            assert_eq!(header["status"], status, "{backend}");
            let trace_id = header["trace_id"].as_str().expect("an id");
            let trace: Value =
                serde_json::from_str(&setting.stdout(&["get", trace_id, "--format", "json"])).expect("a trace");
            let records = frames.iter().filter_map(|frame| frame.get("RecordEvent"));
            let mut sent: Vec<_> =
                records.filter(|record| record["trace_id"] == trace_id).map(|record| &record["event"]).collect();
            sent.sort_by_key(|event| event["timestamp"].as_str());
            assert_eq!(trace["events"].as_array().expect("events").iter().collect::<Vec<_>>(), sent, "{backend}");
        }
    });
}
