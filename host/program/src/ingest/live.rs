//! The live stream: every event, once it is stored, to everyone who watches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use reflow_tracing::{ExecutionStatus, FlowId, TraceEvent, TraceEventType, TraceId};
use reflow_tracing_model::{json_bytes, status_matches};

/// How many events a subscriber may be behind: several batches, which are published at once. They are kept only as long
/// as a subscriber has not seen them.
const BACKLOG: usize = 8_192;

/// The same in bytes of their JSON, because events can be large.
const BACKLOG_BYTES: u64 = 32 * 1024 * 1024;

/// An event with what is known of its trace.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveEvent {
    /// The trace that the event belongs to, whatever id its sender gave it.
    pub trace_id: TraceId,
    /// The flow; `None` while the sender has not said it.
    pub flow_id: Option<FlowId>,
    /// How the trace stands: running, or failed from its first failure on.
    pub status: ExecutionStatus,
    /// The event.
    pub event: TraceEvent,
}

/// Which events a subscriber wants. What is `None` does not narrow; what is present must hold, all of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionFilters {
    /// Events of these flows.
    pub flow_ids: Option<Vec<FlowId>>,
    /// Events of these actors.
    pub actor_ids: Option<Vec<String>>,
    /// Events of these types. In `DataFlow` an empty actor or port stands for any.
    pub event_types: Option<Vec<TraceEventType>>,
    /// Events of traces that stand so. `Failed` with an empty error stands for any failure.
    pub status_filter: Option<Vec<ExecutionStatus>>,
}

impl SubscriptionFilters {
    /// Whether the event is wanted.
    pub fn matches(&self, live: &LiveEvent) -> bool {
        fn any<T>(wanted: &Option<Vec<T>>, matches: impl Fn(&T) -> bool) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted.iter().any(matches))
        }
        any(&self.flow_ids, |flow| live.flow_id.as_ref() == Some(flow))
            && any(&self.actor_ids, |actor| *actor == live.event.actor_id)
            && any(&self.event_types, |event_type| type_matches(event_type, &live.event.event_type))
            && any(&self.status_filter, |status| status_matches(status, &live.status))
    }
}

fn type_matches(wanted: &TraceEventType, event_type: &TraceEventType) -> bool {
    match (wanted, event_type) {
        (
            TraceEventType::DataFlow { to_actor: wanted_actor, to_port: wanted_port },
            TraceEventType::DataFlow { to_actor, to_port },
        ) => {
            (wanted_actor.is_empty() || wanted_actor == to_actor) && (wanted_port.is_empty() || wanted_port == to_port)
        }
        _ => wanted == event_type,
    }
}

/// Where stored events are published. Clones are the same stream.
#[derive(Clone, Default)]
pub struct Live {
    subscribers: Arc<Mutex<Vec<Arc<Backlog>>>>,
}

impl Live {
    /// A stream that nobody watches yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the subscribers of an event. Never waits.
    pub fn publish(&self, event: LiveEvent) {
        let subscribers = lock(&self.subscribers);
        if subscribers.is_empty() {
            return;
        }
        let (bytes, event) = (json_bytes(&event.event), Arc::new(event));
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.filters.matches(&event)) {
            subscriber.push(&event, bytes);
        }
    }

    /// Whether anyone would be told of an event now.
    pub fn is_watched(&self) -> bool {
        !lock(&self.subscribers).is_empty()
    }

    /// Watches the events that are stored from now on and pass `filters`.
    pub fn subscribe(&self, filters: SubscriptionFilters) -> Subscription {
        let backlog = Arc::new(Backlog { filters, waiting: Mutex::default(), is_changed: Notify::new() });
        lock(&self.subscribers).push(Arc::clone(&backlog));
        Subscription { live: self.clone(), backlog }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing between the steps of a change panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a subscriber has not seen yet.
struct Backlog {
    filters: SubscriptionFilters,
    waiting: Mutex<Waiting>,
    is_changed: Notify,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<(Arc<LiveEvent>, u64)>,
    bytes: u64,
    /// Above 0 from the first event that found no room: nothing waits any more, and nothing will.
    missed: u64,
}

impl Backlog {
    fn push(&self, event: &Arc<LiveEvent>, bytes: u64) {
        let mut waiting = lock(&self.waiting);
        // A single event may be larger than the bound.
        let has_room =
            waiting.events.is_empty() || (waiting.events.len() < BACKLOG && waiting.bytes + bytes <= BACKLOG_BYTES);
        if waiting.missed == 0 && has_room {
            waiting.bytes += bytes;
            waiting.events.push_back((Arc::clone(event), bytes));
        } else {
            let missed = waiting.missed + waiting.events.len() as u64 + 1;
            *waiting = Waiting { missed, ..Waiting::default() };
        }
        drop(waiting);
        self.is_changed.notify_one();
    }

    fn pop(&self) -> Option<Result<Arc<LiveEvent>, Lagged>> {
        let mut waiting = lock(&self.waiting);
        if waiting.missed > 0 {
            return Some(Err(Lagged { missed: waiting.missed }));
        }
        let (event, bytes) = waiting.events.pop_front()?;
        waiting.bytes -= bytes;
        Some(Ok(event))
    }
}

/// A subscriber is too slow: it missed events, and its subscription has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subscription ended because its receiver is too slow: {missed} events were missed; subscribe again")]
pub struct Lagged {
    /// The events that it asked for and did not get.
    pub missed: u64,
}

/// A subscriber's end of the live stream.
pub struct Subscription {
    live: Live,
    backlog: Arc<Backlog>,
}

impl Subscription {
    /// Waits for the next event that is wanted. After an error the subscription is to be dropped.
    ///
    /// May be cancelled without losing an event.
    pub async fn next(&mut self) -> Result<Arc<LiveEvent>, Lagged> {
        loop {
            if let Some(next) = self.backlog.pop() {
                return next;
            }
            // What came since leaves a permit, so it is not missed.
            self.backlog.is_changed.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.live.subscribers).retain(|subscriber| !Arc::ptr_eq(subscriber, &self.backlog));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> LiveEvent {
        LiveEvent {
            trace_id: TraceId::new(),
            flow_id: Some(FlowId::new("f")),
            status: ExecutionStatus::Failed { error: "e".into() },
            event: TraceEvent {
                actor_id: "a".into(),
                event_type: TraceEventType::DataFlow { to_actor: "b".into(), to_port: "in".into() },
                ..Default::default()
            },
        }
    }

    #[test]
    fn filters_narrow_by_flow_actor_type_and_status_together() {
        let flow = |id| SubscriptionFilters { flow_ids: Some(vec![FlowId::new(id)]), ..Default::default() };
        let actor = |id: &str| SubscriptionFilters { actor_ids: Some(vec![id.into()]), ..Default::default() };
        let kind = |event_type| SubscriptionFilters { event_types: Some(vec![event_type]), ..Default::default() };
        let to =
            |actor: &str, port: &str| kind(TraceEventType::DataFlow { to_actor: actor.into(), to_port: port.into() });
        let status = |status| SubscriptionFilters { status_filter: Some(vec![status]), ..Default::default() };
        let failed = |error: &str| status(ExecutionStatus::Failed { error: error.into() });
        for (filters, wanted) in [
            (SubscriptionFilters::default(), true),
            (flow("f"), true),
            (flow("g"), false),
            (actor("a"), true),
            (actor("A"), false),
            (to("b", "in"), true),
            (to("", ""), true),
            (to("b", "other"), false),
            (kind(TraceEventType::MessageSent), false),
            (failed("e"), true),
            (failed(""), true),
            (failed("other"), false),
            (status(ExecutionStatus::Running), false),
            (SubscriptionFilters { actor_ids: Some(vec!["z".into()]), ..flow("f") }, false),
            (SubscriptionFilters { actor_ids: Some(vec![]), ..Default::default() }, false),
        ] {
            assert_eq!(filters.matches(&event()), wanted, "{filters:?}");
        }
    }

    #[tokio::test]
    async fn a_subscriber_that_lags_is_told_and_publishing_never_waits() {
        let live = Live::new();
        let mut slow = live.subscribe(Default::default());
        for _ in 0..BACKLOG {
            live.publish(event());
        }
        assert!(slow.next().await.is_ok());
        for _ in 0..5 {
            live.publish(event());
        }
        assert_eq!(slow.next().await, Err(Lagged { missed: BACKLOG as u64 + 4 }));
        drop(slow);
        assert!(!live.is_watched());
    }

    #[tokio::test]
    async fn what_waits_for_a_slow_subscriber_is_bounded_in_bytes_and_others_go_on() {
        let live = Live::new();
        let (mut slow, mut fast) = (live.subscribe(Default::default()), live.subscribe(Default::default()));
        let other = SubscriptionFilters { actor_ids: Some(vec!["other".into()]), ..Default::default() };
        let mut elsewhere = live.subscribe(other);
        let megabyte = "x".repeat(1024 * 1024);
        let mut published = Vec::new();
        for _ in 0..100 {
            let mut large = event();
            large.event.data.error = Some(megabyte.clone());
            live.publish(large);
            published.push(Arc::downgrade(&fast.next().await.unwrap()));
            let waiting = published.iter().filter(|event| event.strong_count() > 0).count();
            assert!(waiting as u64 <= BACKLOG_BYTES / megabyte.len() as u64, "{waiting} wait");
        }
        assert_eq!(slow.next().await, Err(Lagged { missed: 100 }));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, elsewhere.next()).await.is_err());
    }

    #[tokio::test]
    async fn an_event_over_the_bound_reaches_a_subscriber_that_keeps_up() {
        let live = Live::new();
        let mut subscriber = live.subscribe(Default::default());
        let mut large = event();
        large.event.data.error = Some("x".repeat(BACKLOG_BYTES as usize));
        live.publish(large);
        assert!(subscriber.next().await.is_ok());
    }
}
