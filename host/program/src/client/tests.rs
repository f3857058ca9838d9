use std::sync::{Arc, Mutex};

use chrono::DateTime;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::fake_host::{Peer, listener, start};
use super::{ClientError, Connection, HostStore, HostUrl};
use crate::server::reflow::{TracingRequest, TracingResponse};
use reflow_tracing::storage::{PageRequest, StorageBackend, StorageBackendExt};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TraceQuery};

/// The traces of a test, newest first.
fn traces(count: usize) -> Vec<FlowTrace> {
    let trace = |index: usize| FlowTrace {
        start_time: DateTime::from_timestamp(2_000_000_000 - index as i64, 0).unwrap(),
        events: vec![TraceEvent::default()],
        ..FlowTrace::new(FlowId::new(format!("flow {index}")), FlowVersion::default())
    };
    (0..count).map(trace).collect()
}

/// Answers queries for `traces` of at most `most` traces, and notes their limits.
async fn serve_queries(mut peer: Peer, traces: Vec<FlowTrace>, most: u64, limits: Arc<Mutex<Vec<u64>>>) {
    while let Some(request) = peer.request().await {
        let (request_id, query) = (&request["QueryTraces"]["request_id"], &request["QueryTraces"]["query"]);
        let limit = query["limit"].as_u64().unwrap();
        limits.lock().unwrap().push(limit);
        let from = match query["page_token"].as_str() {
            Some(token) => {
                let id = |trace: &FlowTrace| trace.trace_id.0.simple().to_string();
                1 + traces.iter().position(|trace| token.ends_with(&id(trace))).unwrap()
            }
            None => query["offset"].as_u64().unwrap_or(0) as usize,
        };
        let found: Vec<_> = traces.iter().skip(from).take(limit as usize).collect();
        let answer = if limit > most {
            json!({"Error": {"message": "the answer is over 64 MiB", "code": "InvalidRequest", "request_id": request_id}})
        } else {
            json!({"QueryResults": {"request_id": request_id, "traces": found, "total_count": traces.len()}})
        };
        peer.send(answer).await;
    }
}

/// A store of a host with `count` traces that answers with at most `most`, the traces, and the limits of its queries.
async fn store(count: usize, most: u64) -> (HostStore, Vec<FlowTrace>, Arc<Mutex<Vec<u64>>>) {
    let (all, limits) = (traces(count), Arc::default());
    let (of_host, noted) = (all.clone(), Arc::clone(&limits));
    let url = start(move |peer| serve_queries(peer, of_host.clone(), most, Arc::clone(&noted))).await;
    (HostStore::open(url).await.unwrap(), all, limits)
}

#[tokio::test]
async fn pages_are_those_of_a_store_however_they_are_read() {
    for most in [1, 3, 10_000] {
        let (store, all, _) = store(100, most).await;
        let mut query = TraceQuery { limit: Some(40), offset: Some(5), ..TraceQuery::default() };
        let first = store.query_page(PageRequest { total: true, ..query.clone().into() }).await.unwrap();
        assert!(first.traces == all[5..45] && first.total == Some(100), "parts of {most}");
        query.page_token = first.next_page_token;
        let second = store.query_page(PageRequest::headers(query.clone())).await.unwrap();
        let headers = all[45..85].iter().map(|trace| FlowTrace { events: Vec::new(), ..trace.clone() });
        assert!(second.traces.iter().cloned().eq(headers), "parts of {most}");
        query.page_token = second.next_page_token;
        let last = store.query_page(query.into()).await.unwrap();
        assert!(last.traces == all[85..] && last.next_page_token.is_none(), "parts of {most}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_asked_for_in_smaller_parts() {
    let (store, all, limits) = store(20, 3).await;
    let read = store.query_traces(TraceQuery::default()).await.unwrap();
    assert!(read == all);
    let limits = limits.lock().unwrap();
    assert_eq!(limits[..3], [16, 4, 1], "the parts shrink");
    assert!(limits[3..].contains(&3) || limits[3..].contains(&4), "and grow again: {limits:?}");
}

#[tokio::test]
async fn a_trace_that_is_too_large_alone_is_an_error_with_a_way_out() {
    let (store, _, _) = store(20, 0).await;
    let error = store.query_traces(TraceQuery::default()).await.unwrap_err().to_string();
    assert!(error.contains("64 MiB"), "{error}");
    // The connection is still good.
    assert_eq!(store.count_traces(TraceQuery::default()).await.unwrap(), 20);
}

#[tokio::test]
async fn a_server_that_does_not_page_is_an_error() {
    let all = traces(64);
    let url = start(move |peer| {
        let all = all.clone();
        async move {
            let mut peer = peer;
            while let Some(request) = peer.request().await {
                let limit = request["QueryTraces"]["query"]["limit"].as_u64().unwrap() as usize;
                peer.send(json!({"QueryResults": {"traces": &all[..limit], "total_count": 64}})).await;
            }
        }
    })
    .await;
    let error = HostStore::open(url).await.unwrap().query_traces(TraceQuery::default()).await.unwrap_err().to_string();
    assert!(error.contains("the same traces again"), "{error}");
}

/// A trace whose JSON has about this many bytes.
fn large_trace(bytes: usize) -> FlowTrace {
    let mut event = TraceEvent::default();
    event.data.error = Some("x".repeat(bytes));
    FlowTrace { events: vec![event], ..FlowTrace::new(FlowId::new("large"), FlowVersion::default()) }
}

/// A host that answers each request with this text, in frames of so many bytes.
async fn host_with_answer(text: String, frame_bytes: usize) -> HostUrl {
    start(move |mut peer| {
        let text = text.clone();
        async move {
            while peer.request().await.is_some() {
                let mut frames = text.as_bytes().chunks(frame_bytes).peekable();
                let mut kind = Data::Text;
                while let Some(part) = frames.next() {
                    let frame = Frame::message(part.to_vec(), OpCode::Data(kind), frames.peek().is_none());
                    kind = Data::Continue;
                    peer.send_message(Message::Frame(frame)).await;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn answers_of_one_frame_or_many_are_taken() {
    let trace = large_trace(20 << 20);
    let answer = json!({"TraceData": {"trace": trace}}).to_string();
    for frame_bytes in [usize::MAX, 8 << 20] {
        let store = HostStore::open(host_with_answer(answer.clone(), frame_bytes).await).await.unwrap();
        assert!(store.get_trace(trace.trace_id).await.unwrap() == Some(trace.clone()));
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_an_error_with_a_way_out() {
    let answer = json!({"TraceData": {"trace": large_trace(65 << 20)}}).to_string();
    let store = HostStore::open(host_with_answer(answer, 8 << 20).await).await.unwrap();
    let error = store.get_trace(TraceId::new()).await.unwrap_err().to_string();
    assert!(error.contains("larger than 64 MiB") && error.contains("--store"), "{error}");
}

#[tokio::test]
async fn what_is_not_a_host_is_named() {
    // It speaks first, in another protocol.
    let (other, url) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.unwrap();
        stream.write_all(b"-ERR unknown command\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = Connection::open(&url).await.err().unwrap().to_string();
    assert!(error.contains("is not a Reflow tracing host") && error.contains("is the port right?"), "{error}");

    let url = host_with_answer("welcome to the \u{1b}chat".into(), 100).await;
    let error = HostStore::open(url).await.unwrap().get_trace(TraceId::new()).await.unwrap_err().to_string();
    assert!(error.contains("is not a Reflow tracing host: it answered `welcome"), "{error}");
}

#[tokio::test]
async fn an_error_of_either_message_family_is_the_hosts() {
    for answer in
        [json!({"Error": {"message": "disk full", "code": "StorageError"}}), json!({"Error": {"message": "disk full"}})]
    {
        let url = host_with_answer(answer.to_string(), 100).await;
        let mut connection = Connection::open(&url).await.unwrap();
        let asked = connection.ask::<TracingResponse>(&TracingRequest::Ping).await;
        let Err(error @ ClientError::Refused { .. }) = asked else { panic!("{asked:?}") };
        assert_eq!(error.to_string(), format!("{url} answered with an error: disk full"));
    }
}

#[tokio::test]
async fn writes_are_refused() {
    let (store, _, _) = store(0, 1).await;
    let error = store.store_trace(FlowTrace::default()).await.unwrap_err().to_string();
    assert!(error.contains("only read"), "{error}");
}
