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
mod tests {
    use std::sync::LazyLock;
    use std::sync::atomic::Ordering;

    use chrono::{DateTime, TimeDelta, Utc};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::budget::Budget;
    use crate::ingest::gated::Gated;
    use crate::ingest::open_traces::GRACE;
    use crate::ingest::{INTERRUPTED_TAG, UNKNOWN_FLOW};
    use reflow_tracing::storage::{MemoryStorage, StorageBackend};
    use reflow_tracing::{PerformanceMetrics, TraceEventData, TraceEventType, TraceQuery};

    fn session() -> (Arc<MemoryStorage>, Session) {
        let storage = Arc::new(MemoryStorage::new());
        let ingest = Ingest::new(storage.clone());
        (storage, Session::new(ingest, Some(([192, 0, 2, 7], 5).into())))
    }

    static AN_HOUR_AGO: LazyLock<DateTime<Utc>> = LazyLock::new(|| Utc::now() - TimeDelta::hours(1));

    fn event(seconds: i64) -> TraceEvent {
        let timestamp = *AN_HOUR_AGO + TimeDelta::seconds(seconds);
        let data = TraceEventData { performance_metrics: PerformanceMetrics::ZERO, ..Default::default() };
        TraceEvent { timestamp, actor_id: "a".into(), data, ..Default::default() }
    }

    fn flow(id: &str) -> (FlowId, FlowVersion) {
        (FlowId::new(id), FlowVersion::default())
    }

    async fn start(session: &mut Session, id: &str) -> TraceId {
        let (flow_id, version) = flow(id);
        session.start_trace(flow_id, version).await.unwrap()
    }

    #[tokio::test]
    async fn events_with_random_ids_belong_to_the_current_trace_also_those_before_its_start() {
        let (storage, mut session) = session();
        session.record(TraceId::new(), event(10)).await.unwrap();
        let trace_id = start(&mut session, "f").await;
        session.record(TraceId::new(), event(20)).await.unwrap();

        let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!(trace.events.len(), 2);
        assert_eq!((trace.status, trace.end_time), (ExecutionStatus::Running, None));
        assert_eq!(trace.start_time, event(10).timestamp);
        assert_eq!(trace.metadata.session_id, Some(session.id().to_string()));
        assert_eq!(trace.metadata.hostname, "192.0.2.7");

        session.finish().await;
        let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!(trace.end_time, Some(event(20).timestamp));
        assert_eq!(trace.status, ExecutionStatus::Completed);
        assert_eq!(trace.events.len(), 2);
    }

    #[tokio::test]
    async fn an_event_that_names_a_known_trace_goes_there() {
        let (storage, mut session) = session();
        let elsewhere = FlowTrace::new(FlowId::new("elsewhere"), FlowVersion::default());
        storage.store_trace(elsewhere.clone()).await.unwrap();
        let first = start(&mut session, "first").await;
        let second = start(&mut session, "second").await;
        for trace_id in [first, second, second, elsewhere.trace_id, elsewhere.trace_id, elsewhere.trace_id] {
            session.record(trace_id, event(1)).await.unwrap();
        }
        let count = async |trace_id| storage.get_events(trace_id).await.unwrap().len();
        assert_eq!((count(first).await, count(second).await, count(elsewhere.trace_id).await), (1, 2, 3));

        session.finish().await;
        let untouched = storage.get_trace(elsewhere.trace_id).await.unwrap().unwrap();
        assert_eq!(untouched.end_time, None, "a trace of another sender is not ended");
        for ended in [first, second] {
            assert!(storage.get_trace(ended).await.unwrap().unwrap().end_time.is_some());
        }
    }

    #[tokio::test]
    async fn a_trace_with_a_failed_actor_fails_with_its_first_error() {
        let (storage, mut session) = session();
        let trace_id = start(&mut session, "f").await;
        let failed = |error: &str| TraceEvent {
            event_type: TraceEventType::ActorFailed,
            data: TraceEventData { error: Some(error.into()), ..event(1).data },
            ..event(1)
        };
        session.record(TraceId::new(), failed("disk")).await.unwrap();
        session.record(TraceId::new(), failed("later")).await.unwrap();
        session.finish().await;
        let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!(trace.status, ExecutionStatus::Failed { error: "disk".into() });
        assert_eq!(trace.end_time, Some(trace.start_time), "never before its start");
    }

    #[tokio::test]
    async fn events_without_a_start_make_a_trace_of_an_unknown_flow() {
        let (storage, mut session) = session();
        let failed = TraceEvent { event_type: TraceEventType::ActorFailed, ..event(5) };
        session.record(TraceId::new(), failed).await.unwrap();
        session.finish().await;
        let traces = storage.query_traces(TraceQuery::default()).await.unwrap();
        let [trace] = &traces[..] else { panic!("{traces:?}") };
        assert_eq!(trace.flow_id.as_str(), UNKNOWN_FLOW);
        assert_eq!(trace.status, ExecutionStatus::Failed { error: "actor a failed".into() });
    }

    #[tokio::test]
    async fn a_session_without_events_leaves_nothing() {
        let (storage, mut session) = session();
        let bad = TraceEvent { actor_id: "x".repeat(reflow_tracing::MAX_NAME_BYTES + 1), ..event(1) };
        session.record(TraceId::new(), bad).await.unwrap_err();
        session.finish().await;
        assert_eq!(storage.stats().await.unwrap().traces, 0);
    }

    #[tokio::test]
    async fn a_store_that_is_away_for_a_moment_gets_the_start_and_the_end_of_a_trace() {
        let storage = Gated::new(Semaphore::MAX_PERMITS);
        let mut session = Session::new(Ingest::new(storage.clone()), None);
        storage.headers_to_refuse.store(1, Ordering::Relaxed);
        let (flow_id, version) = flow("f");
        session.start_trace(flow_id, version).await.unwrap_err();
        session.record(TraceId::new(), event(1)).await.unwrap();
        storage.headers_to_refuse.store(2, Ordering::Relaxed);
        session.finish().await;
        let traces = storage.query_traces(TraceQuery::default()).await.unwrap();
        let [trace] = &traces[..] else { panic!("{traces:?}") };
        assert_eq!((trace.flow_id.as_str(), trace.events.len()), ("f", 1));
        assert_eq!(trace.status, ExecutionStatus::Completed);
    }

    #[tokio::test]
    async fn a_start_that_is_refused_leaves_the_events_a_trace() {
        let (storage, mut session) = session();
        session.record(TraceId::new(), event(1)).await.unwrap();
        let (_, version) = flow("");
        let too_long = FlowId::new("x".repeat(reflow_tracing::MAX_NAME_BYTES + 1));
        session.start_trace(too_long, version).await.unwrap_err();
        let trace_id = start(&mut session, "f").await;
        assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().events.len(), 1);
    }

    #[tokio::test]
    async fn a_trace_that_its_sender_ended_is_left_as_it_is() {
        let (storage, mut session) = session();
        let trace_id = start(&mut session, "f").await;
        let mut trace = storage.get_trace(trace_id).await.unwrap().unwrap();
        trace.status = ExecutionStatus::Cancelled;
        trace.end_time = Some(Utc::now());
        session.store_trace(trace.clone()).await.unwrap();
        session.finish().await;
        assert_eq!(storage.get_trace(trace_id).await.unwrap(), Some(trace));
    }

    fn newer(seconds: i64) -> TraceEvent {
        TraceEvent { data: TraceEventData::default(), ..event(seconds) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trace_whose_connection_is_lost_is_cancelled_after_a_while() {
        let (storage, mut session) = session();
        let trace_id = TraceId::new();
        let (flow_id, version) = flow("f");
        session.start_trace_as(trace_id, flow_id, version).await.unwrap();
        session.record(trace_id, newer(5)).await.unwrap();
        session.finish().await;
        tokio::time::sleep(GRACE / 2).await;
        assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().status, ExecutionStatus::Running);
        tokio::time::sleep(GRACE).await;
        let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!(trace.status, ExecutionStatus::Cancelled);
        assert!(trace.end_time.unwrap() >= trace.start_time);
        assert!(trace.metadata.tags.contains_key(INTERRUPTED_TAG));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_comes_back_goes_on_with_its_trace() {
        let (storage, mut first) = session();
        let trace_id = TraceId::new();
        let (flow_id, version) = flow("f");
        first.start_trace_as(trace_id, flow_id.clone(), version.clone()).await.unwrap();
        let ingest = first.ingest.clone();
        first.finish().await;
        // In time.
        tokio::time::sleep(GRACE / 2).await;
        let mut second = Session::new(ingest.clone(), None);
        second.record(trace_id, newer(5)).await.unwrap();
        tokio::time::sleep(GRACE * 2).await;
        assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().status, ExecutionStatus::Running);
        second.finish().await;
        // Too late.
        tokio::time::sleep(GRACE * 2).await;
        assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().status, ExecutionStatus::Cancelled);
        let mut third = Session::new(ingest, None);
        third.start_trace_as(trace_id, flow_id, version).await.unwrap();
        let resumed = storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!((resumed.status, resumed.end_time), (ExecutionStatus::Running, None));
        third.end_trace(trace_id, ExecutionStatus::Completed).await.unwrap();
        let ended = storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!((ended.status, ended.events.len()), (ExecutionStatus::Completed, 1));
        assert!(ended.metadata.tags.is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_started_a_trace_without_an_id_has_random_ids_whatever_its_events_say() {
        let (storage, mut session) = session();
        let trace_id = start(&mut session, "f").await;
        session.record(TraceId::new(), newer(1)).await.unwrap();
        session.record(TraceId::new(), newer(2)).await.unwrap();
        session.finish().await;
        assert_eq!(storage.get_trace(trace_id).await.unwrap().unwrap().events.len(), 2);
        assert_eq!(storage.stats().await.unwrap().traces, 1);
    }

    #[tokio::test]
    async fn a_role_without_a_right_on_leases_stores_traces_all_the_same() {
        let storage = Gated::new(Semaphore::MAX_PERMITS);
        storage.refuses_leases.store(true, Ordering::Relaxed);
        let mut session = Session::new(Ingest::new(storage.clone()), None);
        let trace_id = TraceId::new();
        session.record(trace_id, newer(1)).await.unwrap();
        session.end_trace(trace_id, ExecutionStatus::Completed).await.unwrap();
        let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
        assert_eq!((trace.status, trace.events.len()), (ExecutionStatus::Completed, 1));
    }

    #[tokio::test]
    async fn an_unknown_id_that_comes_twice_in_a_row_is_believed() {
        let (storage, mut session) = session();
        let trace_id = TraceId::new();
        let received = [event(1), event(2)].map(|event| Received::new(trace_id, event));
        let chunk = session.chunk(received.into()).await.unwrap();
        session.submit(chunk).await.unwrap().answer().await.unwrap();
        assert_eq!(storage.get_events(trace_id).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_connection_with_too_many_open_traces_closes_those_it_has_not_sent_lately() {
        let (storage, mut session) = session();
        let budget = Budget::new(256 << 20);
        session = session.within(budget.account().unwrap());
        let first = start(&mut session, "f").await;
        session.record(first, event(1)).await.unwrap();
        let second = start(&mut session, "f").await;
        for _ in 2..MAX_OPEN {
            start(&mut session, "f").await;
        }
        let held = budget.held();
        // It is sent again, so another one is closed.
        session.record(first, event(2)).await.unwrap();
        start(&mut session, "f").await;
        assert!(session.open.len() <= MAX_OPEN + 1 - CLOSED_AT_ONCE);
        assert!(budget.held() < held, "what is closed takes no memory");
        let status = async |trace_id| storage.get_headers(vec![trace_id]).await.unwrap().remove(0).map(|it| it.status);
        assert_eq!(status(first).await, Some(ExecutionStatus::Running));
        assert_eq!(status(second).await, Some(ExecutionStatus::Completed));
    }

    #[tokio::test]
    async fn open_traces_that_find_no_room_are_refused() {
        let (_, session) = session();
        let budget = Budget::new(40 << 10);
        let mut session = session.within(budget.account().unwrap());
        let trace_id = TraceId::new();
        let _all: Vec<_> = std::iter::from_fn(|| session.account.as_ref()?.try_take(1 << 10)).collect();
        let (flow_id, version) = flow("f");
        let error = session.start_trace_as(trace_id, flow_id, version).await.unwrap_err();
        assert!(matches!(&error, StorageError::Unavailable(why) if why.contains("max_buffered_mb")), "{error}");
    }

    #[tokio::test]
    async fn a_header_that_is_too_long_is_refused() {
        let (storage, mut session) = session();
        let long = "x".repeat(MAX_HEADER_BYTES as usize);
        let version = FlowVersion { git_hash: Some(long.clone()), ..FlowVersion::default() };
        let mut trace = FlowTrace::new(FlowId::new("f"), FlowVersion::default());
        trace.metadata.tags.insert("tag".into(), long.clone());
        let status = ExecutionStatus::Failed { error: long };
        for error in [
            session.start_trace(FlowId::new("f"), version.clone()).await.unwrap_err(),
            session.start_trace_as(TraceId::new(), FlowId::new("f"), version).await.unwrap_err(),
            session.end_trace(TraceId::new(), status).await.unwrap_err(),
            session.store_trace(trace).await.unwrap_err(),
        ] {
            assert!(matches!(&error, StorageError::InvalidArgument(why) if why.contains("256 KiB")), "{error}");
        }
        session.finish().await;
        assert_eq!(storage.stats().await.unwrap().traces, 0);
    }

    #[tokio::test]
    async fn a_long_failure_is_shortened_in_the_header() {
        let (storage, mut session) = session();
        let trace_id = start(&mut session, "f").await;
        let error = "ä".repeat(100_000);
        let data = TraceEventData { error: Some(error.clone()), ..event(1).data };
        let failed = TraceEvent { event_type: TraceEventType::ActorFailed, data, ..event(1) };
        session.record(TraceId::new(), failed).await.unwrap();
        session.finish().await;
        let trace = storage.get_trace(trace_id).await.unwrap().unwrap();
        let shown = trace.status.error().unwrap();
        assert!(shown.starts_with('ä') && shown.len() < 10_000, "{} bytes", shown.len());
        assert_eq!(trace.events[0].data.error, Some(error));
    }
}
