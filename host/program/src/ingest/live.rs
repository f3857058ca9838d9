//! The live stream: every event, once it is stored, to everyone who watches.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};

use reflow_tracing_model::status_matches;
use reflow_tracing::{ExecutionStatus, FlowId, TraceEvent, TraceEventType, TraceId};

/// How many events a subscriber may be behind: several batches, which are published at once. They are kept only as long
/// as a subscriber has not seen them.
const BACKLOG: usize = 8_192;

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
#[derive(Clone)]
pub struct Live {
    events: broadcast::Sender<Arc<LiveEvent>>,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// A stream that nobody watches yet.
    pub fn new() -> Self {
        Self { events: broadcast::Sender::new(BACKLOG) }
    }

    /// Tells the subscribers of an event. Never waits.
    pub fn publish(&self, event: LiveEvent) {
        if self.is_watched() {
            // Fails when the last subscriber left just now.
            let _ = self.events.send(Arc::new(event));
        }
    }

    /// Whether anyone would be told of an event now.
    pub fn is_watched(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Watches the events that are stored from now on and pass `filters`.
    pub fn subscribe(&self, filters: SubscriptionFilters) -> Subscription {
        Subscription { events: self.events.subscribe(), filters }
    }
}

/// A subscriber is too slow: it missed events, and its subscription has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subscription ended because its receiver is too slow: {missed} events were missed; subscribe again")]
pub struct Lagged {
    /// The events that it missed, before its filters.
    pub missed: u64,
}

/// A subscriber's end of the live stream.
pub struct Subscription {
    events: broadcast::Receiver<Arc<LiveEvent>>,
    filters: SubscriptionFilters,
}

impl Subscription {
    /// Waits for the next event that is wanted. After an error the subscription is to be dropped.
    ///
    /// May be cancelled without losing an event.
    pub async fn next(&mut self) -> Result<Arc<LiveEvent>, Lagged> {
        loop {
            match self.events.recv().await {
                Ok(event) if self.filters.matches(&event) => return Ok(event),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => return Err(Lagged { missed }),
                // The stream has ended with the ingest; there is nothing more to come.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
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
        for _ in 0..BACKLOG + 5 {
            live.publish(event());
        }
        assert_eq!(slow.next().await, Err(Lagged { missed: 5 }));
    }
}
