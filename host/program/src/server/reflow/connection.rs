//! One connection, from its upgrade to the end of its traces.
//!
//! Requests are answered in the order in which they came. Events are many and each waits for its commit, so up to
//! [`MAX_IN_FLIGHT`] of them are under way at a time; any other request waits until those before it are stored and
//! therefore sees them. The events that have arrived at one time are one entry of the queue: one wait, one answer.
//!
//! Nothing is read while the peer does not take what is sent: each answer, notification and pong is waited for until the system
//! has taken it. So what waits to be written is one message of ours and what fits into the buffer of the WebSocket, and a peer
//! that takes nothing is ended by the [listener](super::super::listener).
//!
//! What the connection holds is paid for from the [budget](crate::budget) of the host: a message while it arrives and while it is
//! decoded, events until they are acknowledged, and answers until they are sent.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, SinkExt, StreamExt};
use reflow_tracing::TraceEvent;
use reflow_tracing::storage::StorageError;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::super::shutdown::Stopped;
use super::super::traffic::{ConnectionTraffic, Reason};
use super::answer::Answer;
use super::frame::{Decoded, Encoded};
use super::large::Step;
use super::message::{ErrorCode, TracingRequest, TracingResponse};
use super::socket::{BUFFER, MAX_MESSAGE_BYTES, Socket};
use super::{frame, request};
use crate::budget::{Account, Share, UsedUp};
use crate::ingest::{
    CommitError, Ingest, Lagged, LiveEvent, Original, Outcomes, Received, Session, Submitted, Subscription,
};

/// The events of a connection that may wait for their commit: the next batch while one is being stored. Its sender waits
/// beyond them.
pub(super) const MAX_IN_FLIGHT: usize = 4_096;

/// The events that are taken together when they have arrived together: what a connection has in each of its turns.
const CHUNK: usize = 256;

/// The same in bytes. One event may be larger.
const CHUNK_BYTES: usize = 1024 * 1024;

/// The same in bytes, because events can be large.
const MAX_IN_FLIGHT_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// The notifications that are sent before anything else gets its turn.
const NOTIFICATIONS_AT_ONCE: usize = 256;

/// A notification of this size takes a share of the budget.
const LARGE_NOTIFICATION: usize = 64 * 1024;

/// How much memory a notification takes while it is sent, in sizes of its event: a byte of a message is up to four in JSON, and what
/// is sent is copied into the buffer of the WebSocket.
const NOTIFICATION_FACTOR: usize = 5;

/// How often a silent peer is pinged. Whether it answers does not matter: what is sent to a peer that is gone without a
/// word makes the system find out, and the connection end.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a peer has to take the last answers and to complete the closing handshake.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why the connection that holds the most is ended; at most 123 bytes.
const GREEDIEST: &str =
    "the memory for connections is used up (max_buffered_mb) and this one holds the most; send or ask for less";

/// Serves a connection until it ends or the server stops.
pub(super) async fn serve(
    socket: Socket,
    ingest: Ingest,
    traffic: ConnectionTraffic,
    peer: SocketAddr,
    account: Account,
    stopped: Stopped,
) {
    let session = Session::new(ingest.clone(), Some(peer)).within(account.clone());
    let id = session.id();
    tracing::debug!(%peer, session = %id, "connected");
    let mut connection = Connection {
        socket,
        ingest,
        session,
        traffic,
        ended: account.ended().boxed().shared(),
        account,
        stopped,
        admission: None,
        in_flight: VecDeque::new(),
        load: Load::default(),
        subscription: None,
    };
    let end = match connection.run().await {
        // Then nobody waits any more.
        End::Greediest if connection.stopped.is_stopped() => End::Stopped,
        end => end,
    };
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
    /// The memory for connections is used up, and this one held the most.
    Greediest,
    /// The server stops.
    Stopped,
}

impl From<tungstenite::Error> for End {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Capacity(_) => Self::TooLong,
            tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory => Self::Greediest,
            _ => Self::Lost,
        }
    }
}

/// So many events, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    events: usize,
    bytes: usize,
}

/// Events that were taken together and are not acknowledged yet.
struct InFlight {
    load: Load,
    _share: Option<Share>,
    arrived: Instant,
    progress: Progress,
}

enum Progress {
    /// They are in the queue.
    Submitted(Submitted),
    /// They did not get there.
    Failed(CommitError),
}

impl InFlight {
    /// Waits until it is known what became of them.
    ///
    /// May be cancelled and called again.
    async fn outcomes(&mut self) -> Outcomes {
        let error = match &mut self.progress {
            Progress::Submitted(submitted) => match submitted.answer().await {
                Ok(outcomes) => return outcomes,
                Err(error) => Arc::new(error),
            },
            Progress::Failed(error) => error.clone(),
        };
        Outcomes::Each(vec![Err(error); self.load.events])
    }
}

/// Events on their way into the queue, which is full.
struct Admission {
    load: Load,
    share: Option<Share>,
    arrived: Instant,
    submitted: BoxFuture<'static, Result<Submitted, StorageError>>,
}

struct Connection {
    socket: Socket,
    ingest: Ingest,
    session: Session,
    traffic: ConnectionTraffic,
    account: Account,
    /// Completes when the account is ended.
    ended: Shared<BoxFuture<'static, ()>>,
    stopped: Stopped,
    /// While it is there, nothing is read.
    admission: Option<Admission>,
    in_flight: VecDeque<InFlight>,
    load: Load,
    subscription: Option<Subscription>,
}

impl Connection {
    async fn run(&mut self) -> End {
        let mut ping = tokio::time::interval(PING_INTERVAL);
        ping.reset();
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_room =
                self.admission.is_none() && self.load.events < MAX_IN_FLIGHT && self.load.bytes < MAX_IN_FLIGHT_BYTES;
            let turn = tokio::select! {
                () = self.stopped.wait() => Err(End::Stopped),
                () = self.ended.clone() => Err(End::Greediest),
                outcomes = first_outcomes(&mut self.in_flight) => self.acknowledge(outcomes).await,
                submitted = admitted(&mut self.admission) => {
                    self.admit(submitted);
                    Ok(())
                }
                notification = notification(&mut self.subscription) => self.notify(notification).await,
                _ = ping.tick() => self.send(Message::Ping(Bytes::new())).await,
                message = self.socket.next(), if has_room => self.receive(message).await,
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// Stores what was sent, ends the traces, and only then says goodbye: a peer that sees the connection closed can
    /// rely on its traces being complete.
    async fn end(mut self, end: End) {
        if self.admission.is_some() {
            let submitted = admitted(&mut self.admission).await;
            self.admit(submitted);
        }
        let mut last_answers = Vec::new();
        for mut in_flight in self.in_flight {
            last_answers.push((in_flight.load, in_flight.outcomes().await));
        }
        match end {
            End::Stopped => self.session.interrupt().await,
            End::Closed | End::Lost | End::TooLong | End::Greediest => self.session.finish().await,
        }

        let mut socket = self.socket;
        let goodbye = async {
            let (code, reason) = match end {
                End::Lost => return,
                // The answer to the peer's close is sent by the library, when it is asked for what follows.
                End::Closed => (None, ""),
                End::TooLong => (Some(CloseCode::Size), "a message may have at most 16 MiB"),
                End::Greediest => (Some(CloseCode::Again), GREEDIEST),
                End::Stopped => (Some(CloseCode::Away), "the server stops"),
            };
            if let Some(code) = code {
                // An answer before them may not have been sent.
                last_answers.truncate(if matches!(end, End::Greediest) { 0 } else { last_answers.len() });
                for (load, outcomes) in last_answers {
                    for answer in answers(load, outcomes) {
                        if socket.feed(answer).await.is_err() {
                            return;
                        }
                    }
                }
                let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
                if socket.send(close).await.is_err() {
                    return;
                }
            }
            if matches!(end, End::Greediest) {
                let Some(stream) = socket.into_stream() else { return };
                return stream.discard().await;
            }
            while let Some(Ok(_)) = socket.next().await {}
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    /// Takes a message, and the events that have arrived behind it.
    async fn receive(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), End> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        let mut next = Some(message);
        while let Some(message) = next.take() {
            let share = self.socket.stream().message_arrived();
            let message = match message {
                Some(Ok(message)) => message,
                lost => {
                    self.submit(events, bytes).await?;
                    return Err(lost.map_or(End::Lost, |error| End::from(error.expect_err("messages are taken above"))));
                }
            };
            let message = match message {
                Message::Text(text) => Encoded { bytes: text.into(), is_text: true },
                Message::Binary(bytes) => Encoded { bytes, is_text: false },
                other => {
                    self.submit(events, bytes).await?;
                    return match other {
                        // The library has queued the answer; a next ping would queue another one.
                        Message::Ping(_) => self.flush().await,
                        Message::Close(_) => Err(End::Closed),
                        _ => Ok(()),
                    };
                }
            };
            self.traffic.received_bytes(message.bytes.len());
            let Some(decoded) = frame::decode_small(&message) else {
                self.submit(events, bytes).await?;
                return self.receive_large(message, share).await;
            };
            match self.decoded(decoded) {
                Ok(received) => {
                    bytes += received.bytes;
                    events.push(received);
                    if events.len() < CHUNK && bytes < CHUNK_BYTES {
                        next = self.socket.next().now_or_never();
                    }
                }
                Err(other) => {
                    self.submit(events, bytes).await?;
                    return self.answer(*other, None).await;
                }
            }
        }
        self.submit(events, bytes).await?;
        self.renew().await
    }

    /// Takes a message that may need much memory.
    async fn receive_large(&mut self, message: Encoded, mut share: Option<Share>) -> Result<(), End> {
        let mut step = Step::first(message);
        let decoded = loop {
            step = match step {
                Step::Done(decoded) => break *decoded,
                step => {
                    self.pay(&mut share, step.bytes()).await?;
                    step.run().await
                }
            };
        };
        match self.decoded(decoded) {
            Ok(received) => {
                let bytes = received.bytes;
                self.pay(&mut share, bytes).await?;
                if let Some(share) = &mut share {
                    share.shrink_to(bytes);
                }
                self.enqueue(vec![received], bytes, share).await;
                self.renew().await
            }
            Err(other) => self.answer(*other, share).await,
        }
    }

    /// An event, or anything else.
    fn decoded(&mut self, decoded: Decoded) -> Result<Received, Box<Result<TracingRequest, String>>> {
        let Decoded { json, was_compressed, request } = decoded;
        if was_compressed {
            self.traffic.decompressed_bytes(json.len());
        }
        match request {
            Ok(TracingRequest::RecordEvent { trace_id, event }) => {
                let original = Original { message: json, parse: parse_event };
                Ok(Received::parsed(trace_id, event, original))
            }
            other => Err(Box::new(other)),
        }
    }

    /// Pays for so many bytes, and waits for them if need be. Meanwhile it acknowledges.
    async fn pay(&mut self, share: &mut Option<Share>, bytes: usize) -> Result<(), End> {
        let missing = bytes.saturating_sub(share.as_ref().map_or(0, Share::bytes));
        if missing == 0 {
            return Ok(());
        }
        let mut taken = self.account.take(missing).boxed();
        let taken = loop {
            tokio::select! {
                biased;
                taken = &mut taken => break taken.map_err(|UsedUp| End::Greediest)?,
                () = self.stopped.wait() => return Err(End::Stopped),
                outcomes = first_outcomes(&mut self.in_flight) => self.acknowledge(outcomes).await?,
                submitted = admitted(&mut self.admission) => self.admit(submitted),
            }
        };
        match share {
            Some(share) => share.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }

    /// Pays for small events and puts them into the queue.
    async fn submit(&mut self, mut events: Vec<Received>, mut bytes: usize) -> Result<(), End> {
        if events.is_empty() {
            return Ok(());
        }
        let of_messages: usize = events.iter().map(|received| received.original.message.len()).sum();
        if of_messages < BUFFER / 2 {
            // Their messages would keep all of the buffer in memory that they arrived in.
            for Received { original, .. } in &mut events {
                original.message = Bytes::copy_from_slice(&original.message);
            }
        } else {
            bytes += BUFFER;
        }
        let mut share = self.account.try_take(bytes);
        self.pay(&mut share, bytes).await?;
        self.enqueue(events, bytes, share).await;
        Ok(())
    }

    /// Puts events into the queue; at once when it has room.
    async fn enqueue(&mut self, events: Vec<Received>, bytes: usize, share: Option<Share>) {
        let load = Load { events: events.len(), bytes };
        let arrived = Instant::now();
        self.load.events += load.events;
        self.load.bytes += load.bytes;
        self.traffic.received("RecordEvent", load.events as u64);
        let progress = match self.session.chunk(events).await {
            Ok(chunk) => match self.session.try_submit(chunk) {
                Ok(submitted) => Progress::Submitted(submitted),
                Err(chunk) => {
                    let submitted = self.session.submit(chunk).boxed();
                    self.admission = Some(Admission { load, share, arrived, submitted });
                    return;
                }
            },
            Err(error) => Progress::Failed(error),
        };
        self.in_flight.push_back(InFlight { load, _share: share, arrived, progress });
    }

    /// What waited to get into the queue is in there, or never will be.
    fn admit(&mut self, submitted: Result<Submitted, StorageError>) {
        let Some(Admission { load, share, arrived, .. }) = self.admission.take() else { return };
        let progress = submitted.map_or_else(|error| Progress::Failed(Arc::new(error)), Progress::Submitted);
        self.in_flight.push_back(InFlight { load, _share: share, arrived, progress });
    }

    /// Answers what is not an event, once the events before it are stored. The share is for the request.
    async fn answer(&mut self, request: Result<TracingRequest, String>, share: Option<Share>) -> Result<(), End> {
        let kind = request.as_ref().map_or("unknown", TracingRequest::name);
        self.traffic.received(kind, 1);
        self.settle().await?;
        let mut answer = match request {
            Ok(request) => {
                let (session, subscription) = (&mut self.session, &mut self.subscription);
                let (ingest, account) = (&self.ingest, &self.account);
                let answer = request::answer(request, ingest, session, subscription, &mut self.traffic, account).await;
                self.traffic.subscribed(self.subscription.is_some());
                answer
            }
            Err(problem) => {
                self.traffic.refused(Reason::NotARequest, &problem);
                let code = ErrorCode::InvalidRequest;
                Answer::of(&TracingResponse::Error { message: problem, code, request_id: None })
            }
        };
        drop(share);
        answer.pay(&self.account).await.map_err(|UsedUp| End::Greediest)?;
        let share = answer.take_share();
        self.traffic.sent(1);
        for frame in answer.into_frames() {
            self.feed(frame).await?;
        }
        self.flush().await?;
        if share.is_some() {
            self.socket.stream().has_large_buffers();
        }
        self.renew().await
    }

    /// Replaces buffers of the WebSocket that became large, as soon as nothing is in them.
    async fn renew(&mut self) -> Result<(), End> {
        if self.socket.stream().may_renew() {
            self.flush().await?;
            self.socket.renew().await;
        }
        Ok(())
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
            () = self.ended.clone() => Err(End::Greediest),
        }
    }

    /// Sends what is in the buffer.
    async fn flush(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            result = self.socket.flush() => Ok(result?),
            () = self.stopped.wait() => Err(End::Stopped),
            () = self.ended.clone() => Err(End::Greediest),
        }
    }

    /// Acknowledges the first events in flight, and those after them that are stored as well, in one write.
    async fn acknowledge(&mut self, outcomes: Outcomes) -> Result<(), End> {
        let Self { socket, stopped, ended, in_flight, load, traffic, .. } = self;
        let feed = async {
            let mut next = Some(outcomes);
            while let Some(outcomes) = next {
                let first = in_flight.pop_front().expect("they are the outcomes of the first ones");
                load.events -= first.load.events;
                load.bytes -= first.load.bytes;
                if let Outcomes::Each(each) = &outcomes {
                    for error in each.iter().filter_map(|outcome| outcome.as_ref().err()) {
                        traffic.refused(Reason::from(&**error), &error.to_string());
                    }
                }
                traffic.acknowledged(first.arrived.elapsed());
                traffic.sent(first.load.events as u64);
                for answer in answers(first.load, outcomes) {
                    socket.feed(answer).await?;
                }
                next = first_outcomes(in_flight).now_or_never();
            }
            Ok(())
        };
        tokio::select! {
            biased;
            result = feed => result,
            // A peer that takes no answers must not hold up the shutdown. Some are not sent, so none after them may be.
            () = stopped.wait() => Err(End::Lost),
            () = ended.clone() => Err(End::Greediest),
        }?;
        self.flush().await
    }

    /// Sends a notification, and those after it that are there already, in one write.
    async fn notify(&mut self, notification: Result<Arc<LiveEvent>, Lagged>) -> Result<(), End> {
        let mut next = Some(notification);
        let mut sent = 0;
        while let Some(notification) = next {
            let mut share = None;
            let answer = match notification {
                Ok(live) => {
                    let bytes = live.event.approximate_bytes();
                    if bytes > LARGE_NOTIFICATION {
                        self.pay(&mut share, NOTIFICATION_FACTOR * bytes).await?;
                    }
                    Answer::notification(live.trace_id, &live.event)
                }
                Err(lagged) => {
                    tracing::info!(session = %self.session.id(), missed = lagged.missed, "a slow subscriber is dropped");
                    self.subscription = None;
                    self.traffic.dropped();
                    Answer::of(&TracingResponse::Error {
                        message: lagged.to_string(),
                        code: ErrorCode::InternalError,
                        request_id: None,
                    })
                }
            };
            for frame in answer.into_frames() {
                self.feed(frame).await?;
            }
            if share.is_some() {
                self.flush().await?;
                self.socket.stream().has_large_buffers();
                self.renew().await?;
            }
            self.traffic.sent(1);
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
        loop {
            if self.admission.is_some() {
                let submitted = admitted(&mut self.admission).await;
                self.admit(submitted);
            }
            if self.in_flight.is_empty() {
                return Ok(());
            }
            let outcomes = first_outcomes(&mut self.in_flight).await;
            self.acknowledge(outcomes).await?;
        }
    }
}

fn parse_event(message: &[u8]) -> Option<TraceEvent> {
    match frame::decode(message) {
        Ok(TracingRequest::RecordEvent { event, .. }) => Some(event),
        _ => None,
    }
}

/// An answer for each event.
fn answers(load: Load, outcomes: Outcomes) -> impl Iterator<Item = Message> {
    let (stored, each) = match outcomes {
        Outcomes::Stored => (load.events, Vec::new()),
        Outcomes::Each(outcomes) => (0, outcomes),
    };
    let each = each.into_iter().flat_map(|outcome| Answer::of(&TracingResponse::from(outcome)).into_frames());
    std::iter::repeat_with(frame::stored).take(stored).chain(each)
}

/// The outcomes of the first events in flight. Never completes if there are none.
async fn first_outcomes(in_flight: &mut VecDeque<InFlight>) -> Outcomes {
    match in_flight.front_mut() {
        Some(first) => first.outcomes().await,
        None => std::future::pending().await,
    }
}

/// Waits for room in the queue. Never completes if nothing waits for it.
async fn admitted(admission: &mut Option<Admission>) -> Result<Submitted, StorageError> {
    match admission {
        Some(admission) => (&mut admission.submitted).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next notification. Never completes without a subscription.
async fn notification(subscription: &mut Option<Subscription>) -> Result<Arc<LiveEvent>, Lagged> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
