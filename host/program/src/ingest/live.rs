//! The live stream: every event, once it is stored, to everyone who watches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::filter::{Filter, SubscriptionFilters};
use crate::budget::{Account, Share};
use reflow_tracing::storage::StorageError;
use reflow_tracing::{ExecutionStatus, FlowId, TraceEvent, TraceId};

/// How many events a subscriber may be behind: several batches, which are published at once. They are kept only as long
/// as a subscriber has not seen them.
const BACKLOG: usize = 8_192;

/// The same in bytes, because events can be large.
const BACKLOG_BYTES: usize = 32 * 1024 * 1024;

/// What may wait without a share of the budget: a few events, which the subscriber's connection pays for.
const FREE_BYTES: usize = 16 * 1024;

/// What a backlog takes of the budget at a time.
const STEP: usize = 64 * 1024;

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
        let of_trace =
            event.status.error().map_or(0, str::len) + event.flow_id.as_ref().map_or(0, |flow| flow.as_str().len());
        let (bytes, event) = (of_trace + event.event.approximate_bytes(), Arc::new(event));
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.filter.matches(&event)) {
            subscriber.push(&event, bytes);
        }
    }

    /// Whether anyone would be told of an event now.
    pub fn is_watched(&self) -> bool {
        !lock(&self.subscribers).is_empty()
    }

    /// Watches the events that are stored from now on and pass `filters`. What waits for the subscriber is taken from half of the
    /// account's budget: the other half is for senders.
    ///
    /// Fails if the filters are too large.
    pub fn subscribe(
        &self,
        filters: SubscriptionFilters,
        account: Option<&Account>,
    ) -> Result<Subscription, StorageError> {
        let bytes = filters.bytes();
        let filter = Filter::try_from(filters)?;
        let of_filter = match account {
            Some(account) => Some(account.try_take_of_half(bytes).ok_or_else(|| {
                StorageError::Unavailable("the memory for subscriptions is used up; try again later".into())
            })?),
            None => None,
        };
        let account = account.cloned();
        let backlog =
            Backlog { filter, waiting: Mutex::default(), is_changed: Notify::new(), account, _share: of_filter };
        let backlog = Arc::new(backlog);
        lock(&self.subscribers).push(Arc::clone(&backlog));
        Ok(Subscription { live: self.clone(), backlog })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing between the steps of a change panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a subscriber has not seen yet.
struct Backlog {
    filter: Filter,
    waiting: Mutex<Waiting>,
    is_changed: Notify,
    account: Option<Account>,
    /// For the filter.
    _share: Option<Share>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<(Arc<LiveEvent>, usize)>,
    bytes: usize,
    share: Option<Share>,
    /// Above 0 from the first event that found no room: nothing waits any more, and nothing will.
    missed: u64,
}

impl Backlog {
    fn push(&self, event: &Arc<LiveEvent>, bytes: usize) {
        let mut waiting = lock(&self.waiting);
        // A single event may be larger than the bound.
        let has_room =
            waiting.events.is_empty() || (waiting.events.len() < BACKLOG && waiting.bytes + bytes <= BACKLOG_BYTES);
        if waiting.missed == 0 && has_room && self.pay_for(&mut waiting, bytes) {
            waiting.bytes += bytes;
            waiting.events.push_back((Arc::clone(event), bytes));
        } else {
            let missed = waiting.missed + waiting.events.len() as u64 + 1;
            *waiting = Waiting { missed, ..Waiting::default() };
        }
        drop(waiting);
        self.is_changed.notify_one();
    }

    /// Whether the budget has room for so many more bytes.
    fn pay_for(&self, waiting: &mut Waiting, bytes: usize) -> bool {
        let Some(account) = &self.account else { return true };
        let paid = FREE_BYTES + waiting.share.as_ref().map_or(0, Share::bytes);
        let missing = (waiting.bytes + bytes).saturating_sub(paid);
        if missing == 0 {
            return true;
        }
        let Some(share) = account.try_take_of_half(missing.next_multiple_of(STEP)) else { return false };
        match &mut waiting.share {
            Some(paid) => paid.merge(share),
            none => *none = Some(share),
        }
        true
    }

    fn pop(&self) -> Option<Result<Arc<LiveEvent>, Lagged>> {
        let mut waiting = lock(&self.waiting);
        if waiting.missed > 0 {
            return Some(Err(Lagged { missed: waiting.missed }));
        }
        let (event, bytes) = waiting.events.pop_front()?;
        waiting.bytes -= bytes;
        if waiting.events.is_empty() {
            waiting.share = None;
        }
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
pub(in crate::ingest) mod tests {
    use super::*;
    use crate::budget::{Budget, CONNECTION_BYTES};
    use reflow_tracing::TraceEventType;

    pub(in crate::ingest) fn event() -> LiveEvent {
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

    #[tokio::test]
    async fn a_subscriber_that_lags_is_told_and_publishing_never_waits() {
        let live = Live::new();
        let mut slow = live.subscribe(Default::default(), None).unwrap();
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
        let (mut slow, mut fast) =
            (live.subscribe(Default::default(), None).unwrap(), live.subscribe(Default::default(), None).unwrap());
        let other = SubscriptionFilters { actor_ids: Some(vec!["other".into()]), ..Default::default() };
        let mut elsewhere = live.subscribe(other, None).unwrap();
        let megabyte = "x".repeat(1024 * 1024);
        let mut published = Vec::new();
        for _ in 0..100 {
            let mut large = event();
            large.event.data.error = Some(megabyte.clone());
            live.publish(large);
            published.push(Arc::downgrade(&fast.next().await.unwrap()));
            let waiting = published.iter().filter(|event| event.strong_count() > 0).count();
            assert!(waiting <= BACKLOG_BYTES / megabyte.len(), "{waiting} wait");
        }
        assert_eq!(slow.next().await, Err(Lagged { missed: 100 }));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, elsewhere.next()).await.is_err());
    }

    #[tokio::test]
    async fn an_event_over_the_bound_reaches_a_subscriber_that_keeps_up() {
        let live = Live::new();
        let mut subscriber = live.subscribe(Default::default(), None).unwrap();
        let mut large = event();
        large.event.data.error = Some("x".repeat(BACKLOG_BYTES));
        live.publish(large);
        assert!(subscriber.next().await.is_ok());
    }

    #[tokio::test]
    async fn what_waits_for_all_subscribers_takes_no_more_than_half_of_the_budget() {
        let live = Live::new();
        let budget = Budget::new(64 << 20);
        let mut slow: Vec<_> =
            (0..10).map(|_| live.subscribe(Default::default(), Some(&budget.account().unwrap())).unwrap()).collect();
        for _ in 0..20 {
            let mut large = event();
            large.event.data.error = Some("x".repeat(1 << 20));
            live.publish(large);
            // Beside it, each connection holds its own.
            assert!(budget.held() <= (32 << 20) + 10 * CONNECTION_BYTES, "{}", budget.held());
        }
        let mut lagged = 0;
        for slow in &mut slow {
            lagged += usize::from(slow.next().await.is_err());
        }
        assert!((1..10).contains(&lagged), "{lagged} of 10");
        drop(slow);
        assert_eq!(budget.held(), 0);
    }
}
