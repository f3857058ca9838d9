//! What clients send and what becomes of it, counted for `/metrics`, and refusals in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde_json::json;

use crate::budget::Budget;
use crate::ingest::Clocks;
use reflow_tracing::storage::StorageError;

/// The upper bounds of the histogram of acknowledgements, in seconds.
const BOUNDS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// The counts of a host. Clones are the same.
#[derive(Clone)]
pub(super) struct Traffic(Arc<Counts>);

struct Counts {
    open_connections: Gauge,
    connections: Counter,
    turned_away: Counter,
    received_bytes: Counter,
    decompressed_bytes: Counter,
    /// Of all kinds, for the older family of messages.
    received_messages: AtomicU64,
    sent_messages: Counter,
    /// For all reasons, for the older family of messages.
    refused_messages: AtomicU64,
    messages: Family<Kind, Counter>,
    refused: Family<RefusedFor, Counter>,
    subscriptions: Gauge,
    dropped_subscriptions: Counter,
    acknowledgements: Histogram,
    clocks: Clocks,
    budget: Budget,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedFor {
    reason: Reason,
}

/// Why a message was refused.
#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is not a request of Reflow's protocol.
    NotARequest,
    /// It is a request with an invalid value.
    Invalid,
    /// The store failed, or did not accept it.
    Store,
}

impl Reason {
    const COUNT: usize = 3;

    fn name(self) -> &'static str {
        match self {
            Self::NotARequest => "not_a_request",
            Self::Invalid => "invalid",
            Self::Store => "store",
        }
    }
}

impl From<&StorageError> for Reason {
    fn from(error: &StorageError) -> Self {
        if matches!(error, StorageError::InvalidArgument(_)) { Self::Invalid } else { Self::Store }
    }
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.name().encode(encoder)
    }
}

impl Traffic {
    /// Counts of nothing, beside those of the clocks of senders and of the budget for connections.
    pub(super) fn new(clocks: Clocks, budget: Budget) -> Self {
        Self(Arc::new(Counts {
            open_connections: Gauge::default(),
            connections: Counter::default(),
            turned_away: Counter::default(),
            received_bytes: Counter::default(),
            decompressed_bytes: Counter::default(),
            received_messages: AtomicU64::default(),
            sent_messages: Counter::default(),
            refused_messages: AtomicU64::default(),
            messages: Family::default(),
            refused: Family::default(),
            subscriptions: Gauge::default(),
            dropped_subscriptions: Counter::default(),
            acknowledgements: Histogram::new(BOUNDS),
            clocks,
            budget,
        }))
    }

    /// Makes the counts part of what `/metrics` shows.
    pub(super) fn register(&self, registry: &mut Registry) {
        let Counts { open_connections, connections, received_bytes, messages, refused, .. } = &*self.0;
        registry.register("open_connections", "Open WebSocket connections", open_connections.clone());
        registry.register("connections", "WebSocket connections since the start", connections.clone());
        registry.register_with_unit("received", "Bytes of received messages", Unit::Bytes, received_bytes.clone());
        let Counts { turned_away, decompressed_bytes, sent_messages, .. } = &*self.0;
        let help = "Bytes that compressed messages were decompressed to";
        registry.register_with_unit("decompressed", help, Unit::Bytes, decompressed_bytes.clone());
        let help = "WebSocket connections that were refused because there were too many";
        registry.register("refused_connections", help, turned_away.clone());
        registry.register("sent_messages", "Answers and notifications that were sent", sent_messages.clone());
        registry.register("messages", "Received messages by kind", messages.clone());
        registry.register("refused_messages", "Messages that were not carried out, by reason", refused.clone());
        let Counts { subscriptions, dropped_subscriptions, acknowledgements, .. } = &*self.0;
        registry.register("subscriptions", "Connections that subscribe to events", subscriptions.clone());
        let dropped = "Subscriptions that ended because the subscriber was too slow";
        registry.register("dropped_subscriptions", dropped, dropped_subscriptions.clone());
        let latency = "Time from the arrival of events to their acknowledgement";
        registry.register_with_unit("acknowledgement", latency, Unit::Seconds, acknowledgements.clone());
        let implausible: Counter = Counter::default();
        implausible.inc_by(self.0.clocks.implausible());
        registry.register(
            "implausible_times",
            "Events whose time was more than a day from the host's clock",
            implausible,
        );
        let budget = &self.0.budget;
        let held: Gauge = Gauge::default();
        held.set(i64::try_from(budget.held()).unwrap_or(i64::MAX));
        registry.register_with_unit(
            "buffered",
            "Memory that connections hold, of `max_buffered_mb`",
            Unit::Bytes,
            held,
        );
        let help = "How often a connection waited because `max_buffered_mb` was used up";
        registry.register("buffer_waits", help, budget.waits().clone());
        let help = "Connections that were ended because `max_buffered_mb` was used up and they held the most";
        registry.register("ended_connections", help, budget.ended().clone());
        let help = "Connections that were refused because `max_buffered_mb` was used up";
        registry.register("connections_without_room", help, budget.refused().clone());
    }

    /// A client was refused because there are too many. Logged at the first of each thousand.
    pub(super) fn turned_away(&self, peer: SocketAddr) {
        if self.0.turned_away.inc().is_multiple_of(1000) {
            let open = self.0.open_connections.get();
            tracing::warn!(%peer, open, "refused a connection: there are as many as `max_connections` in `[server]` allows");
        }
    }

    /// A client has connected.
    pub(super) fn connection(&self, peer: SocketAddr) -> ConnectionTraffic {
        self.0.open_connections.inc();
        self.0.connections.inc();
        ConnectionTraffic { counts: self.0.clone(), peer, refused: [0; Reason::COUNT], is_subscribed: false }
    }
}

/// The counts of one connection, which are part of those of the host. A reason for refusals is logged at its first one, and
/// with their number when the connection ends: a client that is wrong is usually wrong every time, and ignores the answers.
pub(super) struct ConnectionTraffic {
    counts: Arc<Counts>,
    peer: SocketAddr,
    refused: [u64; Reason::COUNT],
    is_subscribed: bool,
}

impl ConnectionTraffic {
    /// Messages of a kind were received.
    pub(super) fn received(&self, kind: &'static str, messages: u64) {
        self.counts.messages.get_or_create(&Kind { kind }).inc_by(messages);
        self.counts.received_messages.fetch_add(messages, Relaxed);
    }

    /// A message of this length was received.
    pub(super) fn received_bytes(&self, bytes: usize) {
        self.counts.received_bytes.inc_by(bytes as u64);
    }

    /// A message was decompressed to this length.
    pub(super) fn decompressed_bytes(&self, bytes: usize) {
        self.counts.decompressed_bytes.inc_by(bytes as u64);
    }

    /// Answers or notifications were sent.
    pub(super) fn sent(&self, messages: u64) {
        self.counts.sent_messages.inc_by(messages);
    }

    /// The counts that Reflow's own server answers a `GetMetrics` with.
    pub(super) fn for_the_older_family(&self) -> serde_json::Value {
        let count = |kind| self.counts.messages.get(&Kind { kind }).map_or(0, |count| count.get());
        json!({
            "connections_active": self.counts.open_connections.get(),
            "connections_total": self.counts.connections.get(),
            "messages_received": self.counts.received_messages.load(Relaxed),
            "messages_sent": self.counts.sent_messages.get(),
            "errors_total": self.counts.refused_messages.load(Relaxed),
            "traces_stored": count("StartTrace") + count("StoreTrace"),
            "traces_queried": count("GetTrace") + count("QueryTraces"),
        })
    }

    /// A message was refused.
    pub(super) fn refused(&mut self, reason: Reason, problem: &str) {
        self.counts.refused.get_or_create(&RefusedFor { reason }).inc();
        self.counts.refused_messages.fetch_add(1, Relaxed);
        let refused = &mut self.refused[reason as usize];
        *refused += 1;
        if *refused == 1 {
            let reason = reason.name();
            tracing::warn!(peer = %self.peer, reason, "refused a message: {problem}; further ones of this connection are counted");
        }
    }

    /// Events that arrived this long ago were acknowledged.
    pub(super) fn acknowledged(&self, after: Duration) {
        self.counts.acknowledgements.observe(after.as_secs_f64());
    }

    /// Whether the connection subscribes to events, from now on.
    pub(super) fn subscribed(&mut self, is_subscribed: bool) {
        if std::mem::replace(&mut self.is_subscribed, is_subscribed) != is_subscribed {
            if is_subscribed {
                self.counts.subscriptions.inc()
            } else {
                self.counts.subscriptions.dec()
            };
        }
    }

    /// The subscription ended because it was too slow.
    pub(super) fn dropped(&mut self) {
        self.counts.dropped_subscriptions.inc();
        self.subscribed(false);
    }
}

impl Drop for ConnectionTraffic {
    fn drop(&mut self) {
        self.subscribed(false);
        self.counts.open_connections.dec();
        for reason in [Reason::NotARequest, Reason::Invalid, Reason::Store] {
            let messages = self.refused[reason as usize];
            if messages > 1 {
                tracing::warn!(peer = %self.peer, reason = reason.name(), messages, "a connection ended whose messages were refused");
            }
        }
    }
}
