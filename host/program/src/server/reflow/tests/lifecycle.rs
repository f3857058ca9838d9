//! How connections wait, slow down and end.

use super::*;
use crate::server::reflow::connection::MAX_IN_FLIGHT;

#[tokio::test]
async fn an_event_is_acknowledged_only_once_it_is_stored_and_a_query_waits_for_it() {
    let server = Server::start_gated(0).await;
    let mut client = server.connect().await;
    let trace_id = client.start("f").await;
    client.send(&record(event("a"))).await;
    client.send(&TracingRequest::GetTrace { request_id: None, trace_id }).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), client.0.next()).await.is_err(), "nothing is stored yet");
    server.storage.permits.add_permits(1);
    assert_eq!(client.receive().await, STORED);
    match client.receive().await {
        TracingResponse::TraceData { trace: Some(trace), .. } => assert_eq!(trace.events.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_waits_slows_its_sender_and_loses_nothing() {
    let server = Server::start_gated(0).await;
    let mut client = server.connect().await;
    let trace_id = client.start("f").await;
    let (mut sender, mut receiver) = client.0.split();
    const EVENTS: usize = MAX_IN_FLIGHT;
    let sending = tokio::spawn(async move {
        // Large enough that neither the connection nor the network's buffers hold them all.
        let filler = "x".repeat(20_000);
        for _ in 0..EVENTS {
            let data = TraceEventData { port: Some(filler.clone()), ..event("x").data };
            let request = record(TraceEvent { data, ..event("a") });
            sender.send(Message::text(serde_json::to_string(&request).unwrap())).await.unwrap();
        }
        sender
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!sending.is_finished(), "the sender has to wait");
    server.storage.permits.add_permits(1_000_000);
    for _ in 0..EVENTS {
        let answer = receiver.next().await.unwrap().unwrap();
        assert_eq!(answer.to_text().unwrap(), r#"{"EventRecorded":{"success":true,"error":null}}"#);
    }
    drop(sending.await.unwrap());
    assert_eq!(server.storage.get_events(trace_id).await.unwrap().len(), EVENTS);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_does_not_slow_the_senders() {
    let server = Server::start().await;
    let mut watcher = server.connect().await;
    assert_eq!(watcher.ask(&subscribe(SubscriptionFilters::default())).await, STORED);
    let mut sender = server.connect().await;
    sender.start("f").await;
    const EVENTS: usize = 20_000;
    let (mut sending, mut answers) = sender.0.split();
    let filler = "x".repeat(1_000);
    let frames = (0..EVENTS).map(move |_| {
        let data = TraceEventData { port: Some(filler.clone()), ..event("x").data };
        Ok(Message::text(serde_json::to_string(&record(TraceEvent { data, ..event("a") })).unwrap()))
    });
    let sending = tokio::spawn(async move { sending.send_all(&mut futures::stream::iter(frames)).await });
    for _ in 0..EVENTS {
        tokio::time::timeout(Duration::from_secs(20), answers.next()).await.expect("ingest is held up");
    }
    sending.await.unwrap().unwrap();
    // What it missed ends its stream with an error, after which it goes on as a connection.
    loop {
        match watcher.receive().await {
            TracingResponse::EventNotification { .. } => {}
            TracingResponse::Error { message, .. } => {
                assert!(message.contains("missed"), "{message}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(watcher.ask(&TracingRequest::Ping).await, TracingResponse::Pong);
}

#[tokio::test]
async fn a_connection_that_breaks_off_ends_its_trace_with_all_that_was_sent() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let trace_id = client.start("f").await;
    for _ in 0..5 {
        client.send(&record(event("a"))).await;
    }
    for _ in 0..5 {
        assert_eq!(client.receive().await, STORED);
    }
    drop(client);
    let traces = server.ended_traces(1).await;
    assert_eq!((traces[0].trace_id, traces[0].events.len()), (trace_id, 5));
    assert_eq!(traces[0].status, ExecutionStatus::Completed);
}

#[tokio::test]
async fn shutdown_ends_connections_and_their_traces() {
    let mut server = Server::start().await;
    let mut client = server.connect().await;
    client.start("f").await;
    assert_eq!(client.ask(&record(event("a"))).await, STORED);
    server.stop.take().unwrap().send(()).unwrap();
    match client.0.next().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("{other:?}"),
    }
    let traces = server.storage.query_traces(TraceQuery::default()).await.unwrap();
    assert!(traces[0].end_time.is_some(), "it ended before the goodbye");
    while let Some(Ok(_)) = client.0.next().await {}
    server.ended.await.unwrap().unwrap();
    assert!(tokio_tungstenite::connect_async(&server.url).await.is_err());
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection_but_not_the_server() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.start("f").await;
    let _ = client.0.send(Message::text(" ".repeat(MAX_MESSAGE_BYTES + 1))).await;
    while let Some(Ok(_)) = client.0.next().await {}
    server.ended_traces(1).await;
    assert_eq!(server.connect().await.ask(&TracingRequest::Ping).await, TracingResponse::Pong);
}
