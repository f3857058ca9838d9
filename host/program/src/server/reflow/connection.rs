//! One connection, from its upgrade to the end of its traces.
//!
//! Requests are answered in the order in which they came. Events are many and each waits for its commit, so up to
//! [`MAX_IN_FLIGHT`] of them are under way at a time; any other request waits until those before it are stored and
//! therefore sees them.
//!
//! Nothing is read while the peer does not take what is sent: each answer, notification and pong is waited for until the system
//! has taken it. So what waits to be written is one message of ours and what fits into the buffer of the WebSocket, and a peer
//! that takes nothing is ended by the [listener](super::super::listener).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, SinkExt, StreamExt};
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite;

use super::super::shutdown::Stopped;
use super::message::{ErrorCode, TracingRequest, TracingResponse};
use super::{frame, request};
use crate::ingest::{CommitError, Ingest, Lagged, LiveEvent, Session, Subscription};

/// The longest message that is accepted, in bytes. Reflow's messages contain snapshots of messages and states, with four
/// bytes of JSON per byte; one event must not use the memory of thousands.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The events of a connection that may wait for their commit: a full batch. Its sender waits beyond them.
pub(super) const MAX_IN_FLIGHT: usize = 1_024;

/// The same in bytes of their messages, because events can be large.
const MAX_IN_FLIGHT_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// The notifications that are sent before anything else gets its turn.
const NOTIFICATIONS_AT_ONCE: usize = 256;

/// How often a silent peer is pinged. Whether it answers does not matter: what is sent to a peer that is gone without a
/// word makes the system find out, and the connection end.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a peer has to take the last answers and to complete the closing handshake.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves a connection until it ends or the server stops.
pub(super) async fn serve(socket: WebSocket, ingest: Ingest, peer: SocketAddr, stopped: Stopped) {
    let session = Session::new(ingest.clone(), Some(peer));
    let id = session.id();
    tracing::debug!(%peer, session = %id, "connected");
    let mut connection = Connection {
        socket,
        ingest,
        session,
        stopped,
        in_flight: FuturesOrdered::new(),
        in_flight_bytes: 0,
        subscription: None,
    };
    let end = connection.run().await;
    tracing::debug!(%peer, session = %id, ?end, "the connection ends");
    connection.end(end).await;
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The peer began the closing handshake.
    Closed,
    /// The peer is gone, or violates the WebSocket protocol.
    Lost,
    /// The peer sent a message over [`MAX_MESSAGE_BYTES`].
    TooLong,
    /// The server stops.
    Stopped,
}

impl From<axum::Error> for End {
    fn from(error: axum::Error) -> Self {
        match error.into_inner().downcast_ref() {
            Some(tungstenite::Error::Capacity(_)) => Self::TooLong,
            _ => Self::Lost,
        }
    }
}

/// The outcome of an event.
struct Recorded {
    result: Result<(), CommitError>,
    message_bytes: usize,
}

struct Connection {
    socket: WebSocket,
    ingest: Ingest,
    session: Session,
    stopped: Stopped,
    in_flight: FuturesOrdered<BoxFuture<'static, Recorded>>,
    in_flight_bytes: usize,
    subscription: Option<Subscription>,
}

impl Connection {
    async fn run(&mut self) -> End {
        let mut ping = tokio::time::interval(PING_INTERVAL);
        ping.reset();
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                () = self.stopped.wait() => Err(End::Stopped),
                Some(recorded) = self.in_flight.next() => self.acknowledge(recorded).await,
                notification = notification(&mut self.subscription) => self.notify(notification).await,
                _ = ping.tick() => self.send(Message::Ping(Bytes::new())).await,
                message = self.socket.recv(),
                    if self.in_flight.len() < MAX_IN_FLIGHT && self.in_flight_bytes < MAX_IN_FLIGHT_BYTES =>
                {
                    match message {
                        Some(Ok(message)) => self.receive(message).await,
                        Some(Err(error)) => Err(End::from(error)),
                        None => Err(End::Lost),
                    }
                }
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// Stores what was sent, ends the traces, and only then says goodbye: a peer that sees the connection closed can
    /// rely on its traces being complete.
    async fn end(mut self, end: End) {
        let mut last_answers = Vec::new();
        while let Some(recorded) = self.in_flight.next().await {
            last_answers.push(recorded);
        }
        self.session.finish().await;

        let mut socket = self.socket;
        let goodbye = async {
            let (code, reason) = match end {
                End::Lost => return,
                // The answer to the peer's close is sent by the library, when it is asked for what follows.
                End::Closed => (None, ""),
                End::TooLong => (Some(close_code::SIZE), "a message may have at most 16 MiB"),
                End::Stopped => (Some(close_code::AWAY), "the server stops"),
            };
            if let Some(code) = code {
                for recorded in last_answers {
                    if socket.feed(frame::encode(&TracingResponse::from(recorded.result))).await.is_err() {
                        return;
                    }
                }
                let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
                if socket.send(close).await.is_err() {
                    return;
                }
            }
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        let bytes = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            // The library has queued the answer; a next ping would queue another one.
            Message::Ping(_) => return self.flush().await,
            Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Closed),
        };
        let answer = match frame::decode(bytes) {
            Ok(TracingRequest::RecordEvent { trace_id, event }) => {
                let message_bytes = bytes.len();
                let stored = self.session.record(trace_id, event);
                self.in_flight_bytes += message_bytes;
                self.in_flight.push_back(async move { Recorded { result: stored.await, message_bytes } }.boxed());
                return Ok(());
            }
            Ok(request) => {
                self.settle().await?;
                request::answer(request, &self.ingest, &mut self.session, &mut self.subscription).await
            }
            Err(problem) => {
                self.settle().await?;
                frame::encode(&TracingResponse::Error { message: problem, code: ErrorCode::InvalidRequest })
            }
        };
        self.send(answer).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Puts a message into the buffer of those to be sent.
    async fn feed(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            biased;
            result = self.socket.feed(message) => Ok(result?),
            // A peer that takes no answers must not hold up the shutdown. This one is not sent, so none after it may be.
            () = self.stopped.wait() => Err(End::Lost),
        }
    }

    /// Sends what is in the buffer.
    async fn flush(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            result = self.socket.flush() => Ok(result?),
            () = self.stopped.wait() => Err(End::Stopped),
        }
    }

    /// Acknowledges an event, and those after it that are stored as well, in one write.
    async fn acknowledge(&mut self, recorded: Recorded) -> Result<(), End> {
        let mut next = Some(recorded);
        while let Some(Recorded { result, message_bytes }) = next {
            self.in_flight_bytes -= message_bytes;
            self.feed(frame::encode(&TracingResponse::from(result))).await?;
            next = self.in_flight.next().now_or_never().flatten();
        }
        self.flush().await
    }

    /// Sends a notification, and those after it that are there already, in one write.
    async fn notify(&mut self, notification: Result<Arc<LiveEvent>, Lagged>) -> Result<(), End> {
        let mut next = Some(notification);
        let mut sent = 0;
        while let Some(notification) = next {
            let message = match notification {
                Ok(live) => TracingResponse::EventNotification { trace_id: live.trace_id, event: live.event.clone() },
                Err(lagged) => {
                    tracing::info!(session = %self.session.id(), missed = lagged.missed, "a slow subscriber is dropped");
                    self.subscription = None;
                    TracingResponse::Error { message: lagged.to_string(), code: ErrorCode::InternalError }
                }
            };
            self.feed(frame::encode(&message)).await?;
            sent += 1;
            next = if sent < NOTIFICATIONS_AT_ONCE {
                self::notification(&mut self.subscription).now_or_never()
            } else {
                None
            };
        }
        self.flush().await
    }

    /// Waits until every event so far is stored and acknowledged.
    async fn settle(&mut self) -> Result<(), End> {
        while let Some(recorded) = self.in_flight.next().await {
            self.acknowledge(recorded).await?;
        }
        Ok(())
    }
}

/// Waits for the next notification; for ever when there is no subscription.
async fn notification(subscription: &mut Option<Subscription>) -> Result<Arc<LiveEvent>, Lagged> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
