//! Senders of events, as Reflow's client is one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{SinkExt, StreamExt, future};
use reflow_tracing::{FlowTrace, TraceId};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const STORED: &str = r#"{"EventRecorded":{"success":true,"error":null}}"#;

/// A connection that has started a trace, and what it is going to send.
pub struct Sender {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    frames: Vec<Message>,
}

impl Sender {
    pub async fn connect(url: &str, trace: &FlowTrace) -> Result<Self> {
        let (mut socket, _) = connect_async(url).await.with_context(|| format!("cannot connect to {url}"))?;
        let start = json!({ "StartTrace": { "flow_id": trace.flow_id, "version": trace.version } });
        socket.send(frame(&start)?).await?;
        let started = socket.next().await.context("the server closed the connection")??;
        ensure!(started.to_text()?.contains("TraceStarted"), "the server answered with {started}");
        let frames = trace.events.iter().map(|event| {
            // The client gives every event its own trace id.
            frame(&json!({ "RecordEvent": { "trace_id": TraceId::new(), "event": event } }))
        });
        let frames = frames.collect::<Result<_>>()?;
        Ok(Self { socket, frames })
    }

    /// Sends everything without waiting for answers, and then waits for all of them.
    pub async fn send_all(&mut self) -> Result<()> {
        let frames = std::mem::take(&mut self.frames);
        let count = frames.len();
        let (mut sink, mut stream) = (&mut self.socket).split();
        let feed = async {
            for frame in frames {
                sink.feed(frame).await?;
            }
            anyhow::Ok(sink.flush().await?)
        };
        let acknowledged = async {
            for _ in 0..count {
                acknowledgement(&mut stream).await?;
            }
            Ok(())
        };
        future::try_join(feed, acknowledged).await?;
        Ok(())
    }

    /// Sends one event after another, each when the one before it is acknowledged. How long each took.
    pub async fn send_each(&mut self) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(self.frames.len());
        for frame in std::mem::take(&mut self.frames) {
            let start = Instant::now();
            self.socket.send(frame).await?;
            acknowledgement(&mut self.socket).await?;
            times.push(start.elapsed());
        }
        Ok(times)
    }

    /// Closes the connection, and waits until the server has: its trace is complete then.
    pub async fn close(mut self) -> Result<()> {
        self.socket.close(None).await?;
        while let Some(message) = self.socket.next().await {
            message?;
        }
        Ok(())
    }
}

fn frame(request: &Value) -> Result<Message> {
    Ok(Message::text(serde_json::to_string(request)?))
}

async fn acknowledgement<S>(stream: &mut S) -> Result<()>
where
    S: futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let message = stream.next().await.context("the server closed the connection")??;
        if let Message::Text(text) = message {
            ensure!(text.as_str() == STORED, "the server answered with {text}");
            return Ok(());
        }
    }
}
