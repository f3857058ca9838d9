//! Two hosts on one store.

use std::time::Duration;

use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use reflow_tracing::{FlowVersion, TraceId};
use reflow_tracing_protocol::TracingResponse;
use reflow_tracing_tests::{Backend, Host, Setting, event_of_id};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// To each host.
const CONNECTIONS: usize = 3;
/// Over each connection.
const EVENTS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_on_one_store_read_the_traces_of_both() {
    for backend in Backend::DURABLE {
        let setting = Setting::new(backend);
        let hosts = [Host::start(&setting), Host::start(&setting)];
        let ids: Vec<Uuid> = (0..hosts.len() * CONNECTIONS * EVENTS).map(|_| Uuid::new_v4()).collect();
        join_all(ids.chunks(EVENTS).zip(hosts.iter().cycle()).map(|(ids, host)| record(&host.url, ids))).await;

        for host in &hosts {
            let count = json!({"QueryTraces": {"query": {"limit": 1}}});
            match &answers(&host.url, &[count]).await[..] {
                [TracingResponse::QueryResults { total_count, .. }] => assert_eq!(*total_count, 2 * CONNECTIONS),
                other => panic!("{backend:?}: {other:?}"),
            }
        }
        hosts.into_iter().for_each(Host::stop);

        let traces = setting.traces();
        assert_eq!(traces.len(), 2 * CONNECTIONS, "{backend:?}");
        let stored = by_id(traces.iter().flat_map(|trace| &trace.events).map(|event| json!(event)));
        let sent = by_id(ids.into_iter().map(|id| json!(event_of_id(id))));
        assert!(stored == sent, "{backend:?}: {} events are stored, {} were sent", stored.len(), sent.len());
    }
}

/// Sends a trace with the events of these ids. Panics unless everything is acknowledged.
async fn record(url: &str, ids: &[Uuid]) {
    let start = json!({"StartTrace": {"flow_id": "two hosts", "version": FlowVersion::default()}});
    let event = |id: &Uuid| json!({"RecordEvent": {"trace_id": TraceId::new(), "event": event_of_id(*id)}});
    let requests: Vec<_> = std::iter::once(start).chain(ids.iter().map(event)).collect();
    for answer in answers(url, &requests).await {
        match answer {
            TracingResponse::TraceStarted { .. } | TracingResponse::EventRecorded { success: true, .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The answers to the requests, which are all sent before the first answer is read.
async fn answers(url: &str, requests: &[Value]) -> Vec<TracingResponse> {
    let (mut socket, _) = connect_async(url).await.expect("the host listens");
    for request in requests {
        socket.feed(Message::text(request.to_string())).await.expect("the host reads");
    }
    socket.flush().await.expect("the host reads");
    let mut answers = Vec::new();
    for _ in requests {
        let answer = tokio::time::timeout(Duration::from_secs(60), socket.next()).await;
        let answer = answer.expect("in time").expect("an answer").expect("a frame");
        answers.push(serde_json::from_str(answer.to_text().expect("text")).expect("a response"));
    }
    answers
}

fn by_id(events: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut events: Vec<_> = events.collect();
    events.sort_by_key(|event| event["event_id"].as_str().map(str::to_owned));
    events
}
