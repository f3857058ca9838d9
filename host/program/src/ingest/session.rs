//! What one sender sends, made traces.
//!
//! A client of Reflow's newer protocol owns the ids of its traces: an event belongs to the trace that it names, whoever
//! starts and ends that. A connection is known to speak it by its `StartTrace` with an id or its `EndTrace`, and, unless it
//! has started a trace without an id, by events that only the newer protocol can say and by an id that comes twice in a row.
//!
//! An older client puts a fresh random trace id on every event and never learns the id that `StartTrace` returns, so the
//! id on an event is believed only when it is that of a trace that was started on this connection or is in the store.
//! Every other event belongs to the connection's current trace, which is allotted at the first of its events or at
//! `StartTrace`, whichever comes first: the client reports actors before it starts the trace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hashlink::LruCache;
use serde::Serialize;
use uuid::Uuid;

use reflow_tracing_model::json_bytes;
use reflow_tracing_storage::write_queue::{Lane, Ticket};

use super::chunk::{Chunk, Outcomes, Received};
use super::interrupted::may_pass;
use super::live::LiveEvent;
use super::open_trace::OpenTrace;
use super::trace_ids::TraceIds;
use super::{CommitError, HOST_STOPPED, Ingest};
use crate::budget::Account;
use reflow_tracing::storage::StorageError;
use reflow_tracing::{ExecutionStatus, FlowId, FlowTrace, FlowVersion, TraceEvent, TraceId, TraceMetadata};

/// The traces whose ends are stored with one call.
const ENDED_AT_ONCE: usize = 1_000;

/// The traces that a connection may have open. One more closes those that it has not sent for the longest time, as if they were
/// all that it sent.
const MAX_OPEN: usize = 10_000;

/// How many are closed then.
const CLOSED_AT_ONCE: usize = 1_000;

/// The longest header of a trace, without its events, in bytes of its JSON. Queries read many at a time.
const MAX_HEADER_BYTES: u64 = 256 * 1024;

/// The pauses before a trace's end is stored again after a failure that may pass.
const END_RETRIES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// One sender: a connection, from its first message to its end.
pub struct Session {
    ingest: Ingest,
    id: Uuid,
    peer: Option<SocketAddr>,
    /// The traces that were started here, or are sent here under ids of the client.
    open: LruCache<TraceId, Arc<OpenTrace>>,
    /// The trace of events that name no other.
    current: Option<Arc<OpenTrace>>,
    protocol: Protocol,
    last_id: Option<TraceId>,
    trace_ids: TraceIds,
    lane: Lane<Chunk>,
    /// What pays for its open traces.
    account: Option<Account>,
}

/// Events that are in the queue.
pub type Submitted = Ticket<Outcomes>;

impl Session {
    /// A session that stores in `ingest`; `peer` is where its messages come from.
    pub fn new(ingest: Ingest, peer: Option<SocketAddr>) -> Self {
        let lane = ingest.committer().lane();
        Self {
            ingest,
            id: Uuid::new_v4(),
            peer,
            open: LruCache::new_unbounded(),
            current: None,
            protocol: Protocol::Unknown,
            last_id: None,
            trace_ids: TraceIds::default(),
            lane,
            account: None,
        }
    }

    /// The same, whose open traces are paid for by `account`.
    pub fn within(self, account: Account) -> Self {
        Self { account: Some(account), ..self }
    }

    /// Names the session, in logs and in the metadata of its traces.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Decides which traces events belong to. May ask the store, in the beginning; see [`TraceIds`].
    pub async fn chunk(&mut self, received: Vec<Received>) -> Result<Chunk, CommitError> {
        if self.protocol == Protocol::Unknown && received.iter().any(|received| is_of_newer_protocol(&received.event)) {
            self.protocol = Protocol::Newer;
        }
        if self.protocol != Protocol::Newer {
            let named = received.iter().map(|received| received.trace_id);
            let unknown = named.clone().filter(|trace_id| !self.open.contains_key(trace_id));
            let Ingest { storage, started, open, .. } = &self.ingest;
            self.trace_ids.learn(unknown, &**storage, started, open).await.map_err(Arc::new)?;
            let comes_again = |id| {
                let comes_again = self.last_id.replace(id) == Some(id);
                comes_again && !self.open.contains_key(&id) && self.trace_ids.stored(id).is_none()
            };
            if self.protocol == Protocol::Unknown && named.into_iter().any(comes_again) {
                self.protocol = Protocol::Newer;
            }
        }
        let mut chunk = Chunk::with_capacity(received.len());
        for received in received {
            let trace_id = received.trace_id;
            let trace = match self.open.get(&trace_id) {
                Some(open) => open.clone(),
                None if self.protocol == Protocol::Newer => self.join(trace_id).map_err(Arc::new)?,
                None => match self.trace_ids.stored(trace_id) {
                    Some(stored) => stored,
                    None => self.current().map_err(Arc::new)?,
                },
            };
            chunk.push(trace, received);
        }
        // The events that wait are of traces that were sent lately.
        self.close_unused().await;
        Ok(chunk)
    }

    /// Lets events into the queue when there is room now.
    pub fn try_submit(&self, chunk: Chunk) -> Result<Submitted, Chunk> {
        self.lane.try_push(chunk)
    }

    /// Lets events into the queue once there is room.
    pub fn submit(&self, chunk: Chunk) -> impl Future<Output = Result<Submitted, StorageError>> + Send + use<> {
        self.lane.push(chunk)
    }

    /// Stores an event in the trace that it belongs to.
    pub async fn record(&mut self, trace_id: TraceId, event: TraceEvent) -> Result<(), CommitError> {
        let chunk = self.chunk(vec![Received::new(trace_id, event)]).await?;
        let mut submitted = self.submit(chunk).await?;
        match submitted.answer().await? {
            Outcomes::Stored => Ok(()),
            Outcomes::Each(outcomes) => outcomes.into_iter().collect(),
        }
    }

    /// Starts a trace, which is the current one from now on, and gives its id once its header is stored.
    ///
    /// Events that came before belong to it, unless they followed another start. To be called when every event recorded
    /// so far is stored.
    pub async fn start_trace(&mut self, flow_id: FlowId, version: FlowVersion) -> Result<TraceId, StorageError> {
        check_header("the version", &version)?;
        if self.protocol == Protocol::Unknown {
            self.protocol = Protocol::Older;
        }
        if self.current.as_ref().is_some_and(|trace| trace.is_started()) {
            self.current = None;
        }
        let trace = self.current()?;
        self.ingest.headers.start(&trace, trace.running(flow_id, version)).await?;
        self.ingest.started.add(trace.trace_id);
        self.close_unused().await;
        Ok(trace.trace_id)
    }

    /// Starts a trace under the client's id. A trace that was started before goes on as it is.
    ///
    /// To be called when every event recorded so far is stored.
    pub async fn start_trace_as(
        &mut self,
        trace_id: TraceId,
        flow_id: FlowId,
        version: FlowVersion,
    ) -> Result<(), StorageError> {
        check_header("the version", &version)?;
        self.protocol = Protocol::Newer;
        let trace = self.join(trace_id)?;
        self.ingest.headers.start(&trace, trace.running(flow_id, version)).await?;
        self.close_unused().await;
        Ok(())
    }

    /// Ends a trace under the client's id with the status that the client says. To be called when every event recorded so far
    /// is stored.
    pub async fn end_trace(&mut self, trace_id: TraceId, status: ExecutionStatus) -> Result<(), StorageError> {
        if matches!(status, ExecutionStatus::Pending | ExecutionStatus::Running) {
            return Err(StorageError::InvalidArgument(format!(
                "EndTrace of {trace_id} has the status `{}`, which does not end a trace: use Completed, Failed or Cancelled",
                status.name()
            )));
        }
        check_header("the status", &status)?;
        self.protocol = Protocol::Newer;
        let trace = self.join(trace_id)?;
        self.ingest.headers.end(&trace, status).await?;
        self.open.remove(&trace_id);
        self.leave(&trace).await;
        Ok(())
    }

    fn join(&mut self, trace_id: TraceId) -> Result<Arc<OpenTrace>, StorageError> {
        let Self { ingest, id, peer, open, account, .. } = self;
        if let Some(trace) = open.get(&trace_id) {
            return Ok(Arc::clone(trace));
        }
        let trace = ingest.open.join(trace_id, true, || sender(*id, *peer), account.as_ref())?;
        open.insert(trace_id, Arc::clone(&trace));
        Ok(trace)
    }

    /// Closes traces when too many are open.
    async fn close_unused(&mut self) {
        if self.open.len() <= MAX_OPEN {
            return;
        }
        let mut unused = Vec::with_capacity(CLOSED_AT_ONCE);
        while unused.len() < CLOSED_AT_ONCE
            && let Some((trace_id, trace)) = self.open.remove_lru()
        {
            if self.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &trace)) {
                self.open.insert(trace_id, trace);
            } else {
                unused.push(trace);
            }
        }
        tracing::debug!(session = %self.id, traces = unused.len(), "closing traces: the connection has too many open");
        self.close(&unused, OpenTrace::ended).await;
    }

    /// Notes that no more of a trace comes from here.
    async fn leave(&self, trace: &OpenTrace) {
        if self.ingest.open.leave(trace.trace_id)
            && self.ingest.headers.has_leases()
            && let Some(header) = trace.header()
            && let Err(error) = self.ingest.headers.leave(self.ingest.headers.host, vec![header]).await
        {
            // It ends with the lease.
            tracing::debug!(trace_id = %trace.trace_id, "the trace is still held: {error}");
        }
    }

    /// Stores a trace that its sender completed.
    pub async fn store_trace(&mut self, mut trace: FlowTrace) -> Result<(), StorageError> {
        let events = std::mem::take(&mut trace.events);
        check_header("the header of the trace", &trace)?;
        let header = trace.clone();
        trace.events = events;
        let live = self.ingest.live();
        let events = if live.is_watched() { trace.events.clone() } else { Vec::new() };
        self.ingest.storage().store_trace(trace).await?;
        self.ingest.started.add(header.trace_id);
        for event in events {
            let flow_id = Some(header.flow_id.clone());
            live.publish(LiveEvent { trace_id: header.trace_id, flow_id, status: header.status.clone(), event });
        }
        if let Some(open) = self.ingest.open.get(header.trace_id) {
            open.set_header(header, true);
        }
        Ok(())
    }

    /// Ends every trace that was started here without an id, as its events say. To be called when every event recorded so far is
    /// stored.
    pub async fn finish(self) {
        self.end(OpenTrace::ended).await;
    }

    /// The same for a host that stops before the sender ended its traces: they are interrupted.
    pub async fn interrupt(self) {
        self.end(|trace| trace.interrupted(HOST_STOPPED)).await;
    }

    async fn end(self, ended: impl Fn(&OpenTrace) -> FlowTrace) {
        let open: Vec<_> = self.open.iter().map(|(_, trace)| Arc::clone(trace)).collect();
        self.close(&open, ended).await;
    }

    /// Notes that no more of these traces comes from here, and ends those that were started here without an id.
    async fn close(&self, traces: &[Arc<OpenTrace>], ended: impl Fn(&OpenTrace) -> FlowTrace) {
        let (shared, own): (Vec<_>, Vec<_>) = traces.iter().partition(|trace| trace.is_shared);
        let begun: Vec<_> = own.iter().copied().filter(|trace| !trace.is_empty()).collect();
        for traces in begun.chunks(ENDED_AT_ONCE) {
            self.store_ended(traces, traces.iter().map(|trace| ended(trace)).collect()).await;
        }
        for trace in own {
            self.ingest.open.leave(trace.trace_id);
        }
        for trace in shared {
            self.leave(trace).await;
        }
    }

    async fn store_ended(&self, traces: &[&Arc<OpenTrace>], headers: Vec<FlowTrace>) {
        // In case that it fails: then it is tried again when the trace counts as interrupted.
        let known = |is_stored| {
            traces.iter().zip(&headers).for_each(|(trace, header)| trace.set_header(header.clone(), is_stored));
        };
        known(false);
        let not_stored = |headers: &[FlowTrace], error: StorageError| {
            for FlowTrace { trace_id, .. } in headers {
                tracing::error!(%trace_id, session = %self.id, "the end of a trace was not stored: {error}");
            }
        };
        let (store, host) = (&self.ingest.headers, self.ingest.headers.host);
        let mut pauses = END_RETRIES.into_iter();
        while let Err(error) = store.leave(host, headers.clone()).await {
            if !may_pass(&error) {
                // Which of them it refuses is not known; the others are to have their end.
                for (trace, header) in traces.iter().zip(&headers) {
                    if let Err(error) = store.leave(host, vec![header.clone()]).await {
                        not_stored(std::slice::from_ref(header), error);
                    }
                    trace.set_header(header.clone(), true);
                }
                return;
            }
            match pauses.next().filter(|_| error.is_retryable()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return not_stored(&headers, error),
            }
        }
        known(true);
    }

    /// The trace that events belong to which name no other.
    fn current(&mut self) -> Result<Arc<OpenTrace>, StorageError> {
        let Self { ingest, id, peer, open, current, account, .. } = self;
        if let Some(trace) = current {
            return Ok(Arc::clone(trace));
        }
        let trace = ingest.open.join(TraceId::new(), false, || sender(*id, *peer), account.as_ref())?;
        open.insert(trace.trace_id, Arc::clone(&trace));
        *current = Some(Arc::clone(&trace));
        Ok(trace)
    }
}

/// Refuses what would make the header of a trace too long.
fn check_header(what: &str, part: &impl Serialize) -> Result<(), StorageError> {
    let bytes = json_bytes(part);
    if bytes <= MAX_HEADER_BYTES {
        return Ok(());
    }
    Err(StorageError::InvalidArgument(format!(
        "{what} is {} KiB long; without its events, a trace may have {} KiB",
        bytes >> 10,
        MAX_HEADER_BYTES >> 10
    )))
}

/// What the headers of traces say of their sender.
fn sender(session: Uuid, peer: Option<SocketAddr>) -> TraceMetadata {
    TraceMetadata {
        session_id: Some(session.to_string()),
        hostname: peer.map(|peer| peer.ip().to_string()).unwrap_or_default(),
        ..TraceMetadata::default()
    }
}

/// What a connection speaks, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// It sent nothing yet that only one of the two has.
    Unknown,
    /// The ids on its events are random.
    Older,
    /// The ids on its events are those of traces.
    Newer,
}

/// Whether only a client of the newer protocol says this: the older one measures every metric, as 0 if need be, and does not
/// say how a message is encoded.
fn is_of_newer_protocol(event: &TraceEvent) -> bool {
    let data = &event.data;
    data.performance_metrics.execution_time_ns.is_none()
        || data.message.as_ref().is_some_and(|message| message.more.get("content_codec").is_some())
}

#[cfg(test)]
mod tests;
