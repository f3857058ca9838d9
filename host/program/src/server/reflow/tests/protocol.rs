//! What is answered to whom.

use super::*;

#[tokio::test]
async fn a_recorded_session_becomes_one_trace_with_its_events_in_order() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let frames = recorded_frames();
    for frame in &frames {
        client.send_text(frame).await;
    }
    let mut started = None;
    for _ in &frames {
        match client.receive().await {
            TracingResponse::TraceStarted { trace_id } => started = Some(trace_id),
            answer => assert_eq!(answer, STORED),
        }
    }
    client.close().await;

    // The close was answered, so the trace has ended; nothing is to be waited for.
    let traces = server.storage.query_traces(TraceQuery::default()).await.unwrap();
    let [trace] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!(Some(trace.trace_id), started);
    assert_eq!(trace.flow_id.as_str(), "network_session_1795371274");
    assert_eq!(trace.status, ExecutionStatus::Completed);
    assert_eq!(trace.events.len(), 16);
    assert!(trace.events.is_sorted_by_key(|event| event.timestamp));
    assert_eq!(trace.start_time, trace.events[0].timestamp);
    assert_eq!(trace.end_time, Some(trace.events[15].timestamp));
}

#[tokio::test]
async fn two_connections_stay_apart() {
    let server = Server::start().await;
    let (mut a, mut b) = (server.connect().await, server.connect().await);
    let (trace_a, trace_b) = (a.start("a").await, b.start("b").await);
    for _ in 0..3 {
        assert_eq!(a.ask(&record(event("of a"))).await, STORED);
        assert_eq!(b.ask(&record(event("of b"))).await, STORED);
    }
    for (trace_id, actor) in [(trace_a, "of a"), (trace_b, "of b")] {
        let events = server.storage.get_events(trace_id).await.unwrap();
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event.actor_id == actor));
    }
}

#[tokio::test]
async fn a_bad_message_is_answered_and_the_connection_goes_on() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for (message, part) in [
        (Message::text("not json"), "expected"),
        (Message::text(r#"{"Foo":1}"#), "unknown variant `Foo`"),
        (Message::binary(b"\x28\xb5\x2f\xfd\x00".as_slice()), "can't be decompressed as zstd"),
    ] {
        client.0.send(message).await.unwrap();
        let answer = client.receive_json().await;
        assert_eq!(answer["Error"]["code"], "InvalidRequest");
        assert!(answer["Error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
    client.0.send(Message::binary(br#""Ping""#.as_slice())).await.unwrap();
    assert_eq!(client.receive().await, TracingResponse::Pong);
}

#[tokio::test]
async fn an_event_that_is_refused_says_why() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    match client.ask(&record(event(&"x".repeat(2_000)))).await {
        TracingResponse::EventRecorded { success: false, error: Some(error) } => {
            assert!(error.contains("actor_id"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_subscriber_receives_the_events_that_pass_its_filters_with_their_real_trace() {
    let server = Server::start().await;
    let mut watcher = server.connect().await;
    let filters = SubscriptionFilters {
        flow_ids: Some(vec![FlowId::new("wanted")]),
        event_types: Some(vec![TraceEventType::MessageSent]),
        ..Default::default()
    };
    assert_eq!(watcher.ask(&subscribe(filters)).await, STORED);
    let mut trace_ids = Vec::new();
    for flow in ["other", "wanted"] {
        let mut sender = server.connect().await;
        trace_ids.push(sender.start(flow).await);
        sender.ask(&record(event("created"))).await;
        let sent = TraceEvent { event_type: TraceEventType::MessageSent, ..event("sent") };
        sender.ask(&record(sent)).await;
    }
    match watcher.receive().await {
        TracingResponse::EventNotification { trace_id, event } => {
            assert_eq!((trace_id, event.actor_id.as_str()), (trace_ids[1], "sent"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(watcher.ask(&TracingRequest::Unsubscribe).await, STORED);
    let mut sender = server.connect().await;
    sender.start("wanted").await;
    sender.ask(&record(TraceEvent { event_type: TraceEventType::MessageSent, ..event("sent") })).await;
    assert_eq!(watcher.ask(&TracingRequest::Ping).await, TracingResponse::Pong, "no notification comes any more");
}

#[tokio::test]
async fn queries_are_answered_with_the_real_total() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for minor in [2, 1, 1] {
        let version = FlowVersion { minor, ..Default::default() };
        client.ask(&TracingRequest::StartTrace { trace_id: None, flow_id: FlowId::new("f"), version }).await;
    }
    let query = TraceQuery { limit: Some(1), offset: Some(1), ..Default::default() };
    match client.ask(&TracingRequest::QueryTraces { request_id: None, query }).await {
        TracingResponse::QueryResults { traces, total_count, .. } => assert_eq!((traces.len(), total_count), (1, 3)),
        other => panic!("{other:?}"),
    }
    match client.ask(&TracingRequest::GetFlowVersions { flow_id: FlowId::new("f") }).await {
        TracingResponse::FlowVersions { versions } => {
            assert_eq!(versions.iter().map(|version| version.minor).collect::<Vec<_>>(), [1, 2]);
        }
        other => panic!("{other:?}"),
    }
    let unknown = TracingRequest::GetTrace { request_id: None, trace_id: TraceId::new() };
    assert_eq!(client.ask(&unknown).await, TracingResponse::TraceData { request_id: None, trace: None });
    let too_many = TraceQuery { limit: Some(1_000_000), ..Default::default() };
    client.send(&TracingRequest::QueryTraces { request_id: None, query: too_many }).await;
    assert_eq!(client.receive_json().await["Error"]["code"], "InvalidRequest");
}

#[tokio::test]
async fn the_older_family_stores_traces_and_asks_for_metrics() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let events = vec![event("a"), event("b")];
    let trace = FlowTrace { events, ..FlowTrace::new(FlowId::new("f"), FlowVersion::default()) };
    client.send(&TracingRequest::StoreTrace { trace: trace.clone() }).await;
    assert_eq!(client.receive_json().await, json!({"TraceStored": {"trace_id": trace.trace_id}}));
    client.ask(&TracingRequest::GetTrace { request_id: None, trace_id: trace.trace_id }).await;
    client.send_text("not a request").await;
    client.receive_json().await;
    client.send(&TracingRequest::GetMetrics).await;
    let metrics = client.receive_json().await["Metrics"]["data"].take();
    for (name, value) in [
        ("traces", 1),
        ("events", 2),
        ("connections_active", 1),
        ("connections_total", 1),
        ("messages_received", 4),
        ("messages_sent", 3),
        ("errors_total", 1),
        ("traces_stored", 1),
        ("traces_queried", 1),
    ] {
        assert_eq!(metrics[name], value, "{name} in {metrics}");
    }
    assert_eq!(server.storage.get_trace(trace.trace_id).await.unwrap(), Some(trace));
}

#[tokio::test]
async fn a_request_that_is_not_a_websocket_gets_an_explanation() {
    let server = Server::start().await;
    let address = server.url.trim_start_matches("ws://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /traces HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("ws://"), "{answer}");
}

#[tokio::test]
async fn reflows_own_client_is_served() {
    let server = Server::start().await;
    let config = TracingConfig { server_url: server.url.clone(), ..Default::default() };
    let client = TracingClient::new(config);
    client.connect().await.unwrap();
    let tracing = TracingIntegration::new(client);
    tracing.trace_actor_created("early").await.unwrap();
    tracing.start_flow_trace("their flow").await.unwrap();
    tracing.trace_data_flow("a", "out", "b", "in", "Message", 9).await.unwrap();
    tracing.trace_actor_failed("b", "boom").await.unwrap();
    tracing.client().shutdown().await.unwrap();
    // It never closes the connection by itself; its process ends. Here the server stops.
    let mut watcher = server.connect().await;
    for _ in 0..3_000 {
        let query = TraceQuery { has_error: Some(true), ..Default::default() };
        match watcher.ask(&TracingRequest::QueryTraces { request_id: None, query }).await {
            TracingResponse::QueryResults { total_count: 1, .. } => break,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    server.stop.unwrap().send(()).unwrap();
    server.ended.await.unwrap().unwrap();
    let traces = server.storage.query_traces(TraceQuery::default()).await.unwrap();
    let [trace] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!(trace.flow_id.as_str(), "their flow");
    assert_eq!(trace.status, ExecutionStatus::Failed { error: "boom".into() });
    let actors: Vec<_> = trace.events.iter().map(|event| event.actor_id.as_str()).collect();
    assert_eq!(actors, ["early", "a", "b"]);
}

#[tokio::test]
async fn refused_messages_are_counted_by_reason() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send_text("no request").await;
        client.receive_json().await;
    }
    client.start("f").await;
    client.ask(&record(event(&"x".repeat(2_000)))).await;
    client.ask(&record(event("a"))).await;
    let address = server.url.trim_start_matches("ws://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).await.unwrap();
    for line in [
        "reflow_tracing_refused_messages_total{reason=\"not_a_request\"} 3",
        "reflow_tracing_refused_messages_total{reason=\"invalid\"} 1",
        "reflow_tracing_messages_total{kind=\"RecordEvent\"} 2",
        "reflow_tracing_messages_total{kind=\"StartTrace\"} 1",
        "reflow_tracing_open_connections 1",
        "reflow_tracing_acknowledgement_seconds_count 2",
    ] {
        assert!(metrics.contains(line), "no `{line}` in: {metrics}");
    }
}
