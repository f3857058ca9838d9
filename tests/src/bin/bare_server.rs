//! `bare_server FILE`: the least that a server of Reflow's events could do with the libraries of the host. It parses each
//! message into the host's types, stores what has arrived with one call, and answers. No sessions, no lookups, no budgets.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::serve::ListenerExt;
use futures::{FutureExt, SinkExt};
use reflow_tracing::storage::{SqliteStorage, StorageBackend};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId};
use serde::Deserialize;

/// The events of one call, at most: as many as a batch of the host's.
const BATCH: usize = 4_000;

#[derive(Deserialize)]
#[allow(clippy::large_enum_variant)] // Most requests are the largest one, and none is kept.
enum Request {
    StartTrace {
        flow_id: FlowId,
        version: FlowVersion,
    },
    RecordEvent {
        #[serde(rename = "trace_id")]
        _trace_id: TraceId,
        event: TraceEvent,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: bare_server FILE")?;
    let storage = Arc::new(SqliteStorage::new(file).await?);
    let upgrade = async |State(storage): State<Arc<SqliteStorage>>, upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(move |socket| async move {
            if let Err(error) = serve(socket, &storage).await {
                eprintln!("a connection failed: {error}");
            }
        })
    };
    let app = Router::new().fallback(upgrade).with_state(storage);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("can't set TCP_NODELAY: {error}");
        }
    });
    Ok(axum::serve(listener, app).await?)
}

async fn serve(mut socket: WebSocket, storage: &SqliteStorage) -> Result<(), Box<dyn Error>> {
    let mut trace_id = TraceId::new();
    let mut events = Vec::new();
    while let Some(message) = socket.recv().await {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            let message = match message? {
                message @ (Message::Text(_) | Message::Binary(_)) => message.into_data(),
                Message::Close(_) => {
                    // The library answers while it is asked for what follows.
                    while socket.recv().await.is_some() {}
                    return Ok(());
                }
                _ => break,
            };
            match serde_json::from_slice(&message)? {
                Request::RecordEvent { event, .. } => events.push((trace_id, event)),
                Request::StartTrace { flow_id, version } => {
                    let trace = FlowTrace::new(flow_id, version);
                    trace_id = trace.trace_id;
                    storage.store_trace(trace).await?;
                    let answer = format!(r#"{{"TraceStarted":{{"trace_id":"{trace_id}"}}}}"#);
                    socket.send(Message::Text(answer.into())).await?;
                }
            }
            if events.len() < BATCH {
                next = socket.recv().now_or_never().flatten();
            }
        }
        let stored = events.len();
        if stored > 0 {
            storage.store_events(std::mem::take(&mut events)).await?;
            for _ in 0..stored {
                let answer = Utf8Bytes::from_static(r#"{"EventRecorded":{"success":true,"error":null}}"#);
                socket.feed(Message::Text(answer)).await?;
            }
            socket.flush().await?;
        }
    }
    Ok(())
}
