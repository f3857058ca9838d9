//! Clients of Reflow's newer protocol, which own the ids of their traces.

use super::*;
use crate::ingest::INTERRUPTED_TAG;

/// The frames that two processes sent, by connection: one trace of both, and a second one that fails.
fn recorded_session() -> [Vec<Value>; 2] {
    let mut connections = [Vec::new(), Vec::new()];
    for line in include_str!("../../../../fixtures/reflow-session-2.jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let connection = usize::from(line["connection"] != "5bac2124");
        connections[connection].push(line["frame"].clone());
    }
    connections
}

fn newer_event(actor: &str) -> TraceEvent {
    TraceEvent { data: TraceEventData::default(), ..event(actor) }
}

fn record_in(trace_id: TraceId, actor: &str) -> TracingRequest {
    TracingRequest::RecordEvent { trace_id, event: newer_event(actor) }
}

fn start_as(trace_id: TraceId, flow: &str) -> TracingRequest {
    let (flow_id, version) = (FlowId::new(flow), FlowVersion::default());
    TracingRequest::StartTrace { trace_id: Some(trace_id), flow_id, version }
}

fn end(trace_id: TraceId, status: ExecutionStatus) -> TracingRequest {
    TracingRequest::EndTrace { trace_id, status }
}

#[tokio::test]
async fn a_recorded_session_comes_back_as_it_was_sent() {
    let server = Server::start().await;
    let [frames, of_the_other] = recorded_session();
    let mut client = server.connect().await;
    let mut other = server.connect().await;
    // The second process reports before the first has started the trace.
    for frame in &of_the_other {
        other.send_text(frame.to_string()).await;
        assert!(other.receive_json().await.get("Error").is_none(), "{frame}");
    }
    let mut answers = Vec::new();
    for frame in &frames {
        client.send_text(frame.to_string()).await;
        answers.push(client.receive_json().await);
    }
    client.close().await;
    other.close().await;

    let mut sent = Vec::new();
    for frame in frames.iter().chain(&of_the_other) {
        if let Some(record) = frame.get("RecordEvent") {
            sent.push((record["trace_id"].clone(), record["event"].clone()));
        }
    }
    let traces = server.ended_traces(2).await;
    for (flow, status) in
        [("orders", ExecutionStatus::Completed), ("refunds", ExecutionStatus::Failed { error: "no such order".into() })]
    {
        let trace = traces.iter().find(|trace| trace.flow_id.as_str() == flow).unwrap();
        assert_eq!(trace.status, status);
        let trace = serde_json::to_value(trace).unwrap();
        let mut of_trace: Vec<_> =
            sent.iter().filter(|(trace_id, _)| *trace_id == trace["trace_id"]).map(|(_, event)| event).collect();
        of_trace.sort_by_key(|event| event["timestamp"].to_string());
        let mut found: Vec<_> = trace["events"].as_array().unwrap().iter().collect();
        found.sort_by_key(|event| event["timestamp"].to_string());
        assert_eq!(found, of_trace, "{flow}");
    }

    let [.., got, queried] = &answers[..] else { panic!("{answers:?}") };
    let [.., get, query] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(got["TraceData"]["request_id"], get["GetTrace"]["request_id"]);
    assert_eq!(got["TraceData"]["trace"]["status"], "Completed");
    assert_eq!(queried["QueryResults"]["request_id"], query["QueryTraces"]["request_id"]);
    assert_eq!(queried["QueryResults"]["total_count"], 1);
}

#[tokio::test]
async fn both_protocols_are_spoken_at_the_same_time() {
    let server = Server::start().await;
    let (mut older, mut newer) = (server.connect().await, server.connect().await);
    let trace_id = TraceId::new();
    let started = older.start("older").await;
    newer.ask(&start_as(trace_id, "newer")).await;
    for _ in 0..3 {
        assert_eq!(older.ask(&record(event("a"))).await, STORED);
        assert_eq!(newer.ask(&record_in(trace_id, "b")).await, STORED);
    }
    assert_eq!(newer.ask(&end(trace_id, ExecutionStatus::Cancelled)).await, STORED);
    older.close().await;
    newer.close().await;
    let traces = server.ended_traces(2).await;
    for (expected, status, actor) in
        [(started, ExecutionStatus::Completed, "a"), (trace_id, ExecutionStatus::Cancelled, "b")]
    {
        let trace = traces.iter().find(|trace| trace.trace_id == expected).unwrap();
        assert_eq!(trace.status, status);
        assert_eq!(trace.events.iter().map(|event| event.actor_id.as_str()).collect::<Vec<_>>(), [actor; 3]);
    }
}

#[tokio::test]
async fn an_error_has_the_id_of_its_request() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let query = TraceQuery { limit: Some(1_000_000), ..Default::default() };
    client.send(&TracingRequest::QueryTraces { request_id: Some(json!("r-1")), query }).await;
    let answer = client.receive_json().await;
    assert_eq!(answer["Error"]["request_id"], "r-1", "{answer}");
    assert_eq!(answer["Error"]["code"], "InvalidRequest");
}

#[tokio::test]
async fn an_end_with_a_status_that_is_none_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let trace_id = TraceId::new();
    client.ask(&start_as(trace_id, "f")).await;
    client.send(&end(trace_id, ExecutionStatus::Running)).await;
    let answer = client.receive_json().await;
    assert_eq!(answer["Error"]["code"], "InvalidRequest");
    assert!(answer["Error"]["message"].as_str().unwrap().contains("`Running`"), "{answer}");
    let trace = server.storage.get_trace(trace_id).await.unwrap().unwrap();
    assert_eq!((trace.status, trace.end_time), (ExecutionStatus::Running, None));
}

#[tokio::test]
async fn events_after_the_end_move_it() {
    let server = Server::start().await;
    let (mut client, mut other) = (server.connect().await, server.connect().await);
    let trace_id = TraceId::new();
    client.ask(&start_as(trace_id, "f")).await;
    other.ask(&record_in(trace_id, "b")).await;
    client.ask(&end(trace_id, ExecutionStatus::Completed)).await;
    let late = newer_event("late");
    other.ask(&TracingRequest::RecordEvent { trace_id, event: late.clone() }).await;
    client.close().await;
    other.close().await;
    for _ in 0..500 {
        let trace = server.storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!(trace.status, ExecutionStatus::Completed);
        if trace.end_time == Some(late.timestamp) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the end does not move");
}

#[tokio::test]
async fn a_server_that_stops_ends_what_its_clients_did_not() {
    let mut server = Server::start().await;
    let mut client = server.connect().await;
    let (started, unknown) = (TraceId::new(), TraceId::new());
    client.ask(&start_as(started, "f")).await;
    client.ask(&record_in(started, "a")).await;
    client.ask(&record_in(unknown, "a")).await;
    server.stop.take().unwrap().send(()).unwrap();
    (&mut server.ended).await.unwrap().unwrap();
    for (trace_id, flow) in [(started, "f"), (unknown, "unknown")] {
        let trace = server.storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!((trace.flow_id.as_str(), &trace.status), (flow, &ExecutionStatus::Cancelled));
        assert!(trace.metadata.tags[INTERRUPTED_TAG].contains("stopped"), "{trace:?}");
    }
}
