//! Answers with more than one frame may have, and than one message may have. The clients have the limits of Reflow's: 16 MiB
//! for a frame and 64 MiB for a message.

use chrono::{DateTime, TimeDelta};

use super::*;

/// A trace with so many events of 1 MiB.
async fn stored_trace(server: &Server, flow: &str, events: usize) -> FlowTrace {
    let mut trace = FlowTrace::new(FlowId::new(flow), FlowVersion::default());
    for number in 0..events {
        let mut event = event(&format!("actor {number}"));
        event.data.custom_attributes.insert("payload".into(), json!("x".repeat(1 << 20)));
        trace.events.push(event);
    }
    server.storage.store_trace(trace.clone()).await.unwrap();
    trace
}

#[tokio::test]
async fn a_client_takes_an_answer_that_is_larger_than_a_frame() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let trace = stored_trace(&server, "f", 31).await;
    let request_id = Some(json!(7));
    let get = TracingRequest::GetTrace { request_id: request_id.clone(), trace_id: trace.trace_id };
    assert!(
        client.ask(&get).await
            == TracingResponse::TraceData { request_id: request_id.clone(), trace: Some(trace.clone()) }
    );
    let query = TracingRequest::QueryTraces { request_id: request_id.clone(), query: TraceQuery::default() };
    assert!(
        client.ask(&query).await == TracingResponse::QueryResults { request_id, traces: vec![trace], total_count: 1 }
    );
}

#[tokio::test]
async fn an_answer_that_is_larger_than_a_message_is_an_error_that_says_how_to_page() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let trace = stored_trace(&server, "one", 70).await;
    client.send(&TracingRequest::GetTrace { request_id: Some(json!("a")), trace_id: trace.trace_id }).await;
    let error = client.receive_json().await["Error"].take();
    assert_eq!((&error["request_id"], &error["code"]), (&json!("a"), &json!("InvalidRequest")));
    let message = error["message"].as_str().unwrap();
    for part in [&*trace.trace_id.to_string(), "64 MiB", "after 63 events", "export"] {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }

    for _ in 0..3 {
        stored_trace(&server, "several", 25).await;
    }
    let query = |limit| TracingRequest::QueryTraces {
        request_id: Some(json!("b")),
        query: TraceQuery { flow_id: Some(FlowId::new("several")), limit, ..Default::default() },
    };
    client.send(&query(None)).await;
    let error = client.receive_json().await["Error"].take();
    assert_eq!(error["request_id"], "b");
    let message = error["message"].as_str().unwrap();
    for part in ["64 MiB", "after 2 traces", "`limit`, at most 2", "`offset`"] {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
    // What the error advises.
    client.send(&query(Some(2))).await;
    let answer = client.receive_json().await["QueryResults"].take();
    assert_eq!((answer["traces"].as_array().unwrap().len(), &answer["total_count"]), (2, &json!(3)));
}

#[tokio::test]
async fn a_query_has_the_traces_of_its_window_in_order_whatever_their_number() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for number in 0..500 {
        let mut trace = FlowTrace::new(FlowId::new("many"), FlowVersion::default());
        // Groups that start at the same time.
        trace.start_time = DateTime::from_timestamp_nanos(0) + TimeDelta::seconds(number / 70);
        trace.events = (0..number % 3).map(|_| event("a")).collect();
        server.storage.store_trace(trace).await.unwrap();
    }
    for (limit, offset) in
        [(None, None), (Some(450), Some(3)), (Some(10_000), None), (Some(5), Some(498)), (Some(0), None)]
    {
        let query = TraceQuery { limit, offset, ..Default::default() };
        let traces = server.storage.query_traces(query.clone()).await.unwrap();
        let answer = client.ask(&TracingRequest::QueryTraces { request_id: None, query }).await;
        assert_eq!(answer, TracingResponse::QueryResults { request_id: None, traces, total_count: 500 });
    }
}
