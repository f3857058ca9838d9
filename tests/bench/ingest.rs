//! The host process, from the socket of a sender to the store and back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{SinkExt, StreamExt, future};
use reflow_tracing::storage::{SqliteStorage, StorageBackend};
use reflow_tracing::{FlowTrace, TraceId};
use reflow_tracing_tests::{Backend, Host, Setting};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::Sizes;
use crate::measure::{Rounds, seconds_each};
use crate::plugin::{relational, store};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::Workload;

const SQLITE: Path = Path {
    name: "host: events over one WebSocket, sqlite",
    floor: "in process, batches of 1,000",
    unit: Unit::Rate,
    reach: Reach::Report,
};
const RELATIONAL: Path = Path {
    name: "host: events over one WebSocket, relational",
    floor: "in process, batches of 1,000",
    unit: Unit::Rate,
    reach: Reach::Report,
};

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    if report.wants(&SQLITE) {
        let storage = SqliteStorage::new(folder.path().join("native.db")).await?;
        report.compared(&SQLITE, &host(Backend::Sqlite, &storage, sizes).await?);
    }
    if report.wants(&RELATIONAL) {
        let storage = relational(folder.path()).await?;
        report.compared(&RELATIONAL, &host(Backend::Relational, &storage, sizes).await?);
    }
    Ok(())
}

/// A host with `backend`, beside the same kind of storage in this process.
async fn host(backend: Backend, storage: &dyn StorageBackend, sizes: &Sizes) -> Result<Rounds> {
    let setting = Setting::new(backend);
    let host = Host::start(&setting);
    let mut workload = Workload::new()?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        // Each connection sends one trace.
        let trace = workload.trace(sizes.events);
        let floor = async || {
            let events = trace.events.iter().map(|event| (trace.trace_id, event.clone()));
            store(storage, events.collect()).await
        };
        let path = async || send(&host.url, &trace).await;
        rounds.round(floor, path).await?;
    }
    Ok(rounds)
}

/// Sends the events of a trace as Reflow's client does, without waiting for answers. The seconds that an event takes,
/// until the last one is acknowledged.
async fn send(url: &str, trace: &FlowTrace) -> Result<f64> {
    let (mut socket, _) = connect_async(url).await.with_context(|| format!("cannot connect to {url}"))?;
    let start = json!({ "StartTrace": { "flow_id": trace.flow_id, "version": trace.version } });
    socket.send(frame(&start)?).await?;
    let started = answer(&mut socket).await?;
    ensure!(started.get("TraceStarted").is_some(), "the host answered with {started}");

    let frames = trace.events.iter().map(|event| {
        // The client gives every event its own trace id.
        frame(&json!({ "RecordEvent": { "trace_id": TraceId::new(), "event": event } }))
    });
    let frames = frames.collect::<Result<Vec<_>>>()?;
    let count = frames.len();
    let (mut sink, mut stream) = socket.split();
    let start = Instant::now();
    let feed = async {
        for frame in frames {
            sink.feed(frame).await?;
        }
        anyhow::Ok(sink.flush().await?)
    };
    let acknowledged = async {
        for _ in 0..count {
            let answer = answer(&mut stream).await?;
            ensure!(answer["EventRecorded"]["success"] == true, "the host answered with {answer}");
        }
        Ok(())
    };
    future::try_join(feed, acknowledged).await?;
    let cost = seconds_each(start, count);
    sink.close().await?;
    // The host closes once the trace is complete.
    while let Some(message) = stream.next().await {
        message?;
    }
    Ok(cost)
}

fn frame(request: &Value) -> Result<Message> {
    Ok(Message::text(serde_json::to_string(request)?))
}

async fn answer<S>(stream: &mut S) -> Result<Value>
where
    S: futures::Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    loop {
        let message = stream.next().await.context("the host closed the connection")??;
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).with_context(|| format!("the host answered with {text}"));
        }
    }
}
