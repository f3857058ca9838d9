use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use reflow_tracing_model::{EventKey, PerformanceMetrics, TraceEvent, TraceEventType};

use crate::lane::{Arrival, End, Lane, Mark};
use crate::name::Names;
use crate::report::Report;
use crate::{causes, statistics};

/// The events that a [`Report`] needs, without their content: about 200 bytes each, whatever messages they carry.
#[derive(Debug)]
pub struct Spans {
    pub(crate) names: Names,
    /// By the number of the actor's name.
    pub(crate) lanes: HashMap<u32, Lane>,
    /// The time at which each actor appeared.
    pub(crate) first_seen: HashMap<u32, DateTime<Utc>>,
    /// Events that report an error: the actor and the text.
    pub(crate) failures: BTreeMap<EventKey, (u32, Option<u32>)>,
    kept: usize,
    limit: usize,
    pub(crate) left_out: u64,
}

/// Texts of errors are cut after as many bytes.
const LONGEST_ERROR: usize = 1024;

impl Default for Spans {
    /// With room for a million messages, ends, failures and actors.
    fn default() -> Self {
        Self::with_limit(1_000_000)
    }
}

impl Spans {
    /// With room for `limit` messages, ends, failures and actors together. Further ones are left out and counted.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            names: Names::default(),
            lanes: HashMap::new(),
            first_seen: HashMap::new(),
            failures: BTreeMap::new(),
            kept: 0,
            limit,
            left_out: 0,
        }
    }

    /// Adds an event of the trace. An event that was added already changes nothing, and the order does not matter.
    ///
    /// Returns false if the event is left out because the limit is reached.
    pub fn add(&mut self, event: &TraceEvent) -> bool {
        // An event makes at most two actors, one mark and one failure.
        if self.limit.saturating_sub(self.kept) < 4 && self.needs_room(event) {
            self.left_out += 1;
            return false;
        }
        let key = event.key();
        let actor = self.seen(&event.actor_id, event.timestamp);
        match &event.event_type {
            TraceEventType::DataFlow { to_actor, to_port } => {
                let arrival = Arrival {
                    from: actor,
                    from_port: event.data.port.as_deref().map(|port| self.names.number(port)),
                    to_port: self.names.number(to_port),
                    bytes: event.data.message.as_ref().map_or(0, |message| message.size_bytes),
                    parent: event.causality.parent_event_id,
                };
                let to = self.seen(to_actor, event.timestamp);
                self.mark(to, key, Mark::Arrival(arrival));
            }
            TraceEventType::ActorCompleted | TraceEventType::ActorFailed => {
                let end = End {
                    parent: event.causality.parent_event_id,
                    execution_ns: execution_ns(&event.data.performance_metrics),
                    failed: event.is_error(),
                };
                self.mark(actor, key, Mark::End(end));
            }
            _ => {}
        }
        if event.is_error() {
            let text = event.data.error.as_deref().map(|text| self.names.number(cut(text)));
            if self.failures.insert(key, (actor, text)).is_none() {
                self.kept += 1;
            }
        }
        true
    }

    /// What follows from the events so far.
    pub fn report(&mut self) -> Report {
        for lane in self.lanes.values_mut() {
            lane.match_marks();
        }
        let activations = causes::activations(self);
        statistics::of(self, activations)
    }

    /// Whether the event would be kept, and is not yet known to be.
    fn needs_room(&self, event: &TraceEvent) -> bool {
        let knows = |actor: &str| self.names.find(actor).is_some_and(|number| self.first_seen.contains_key(&number));
        let marks = matches!(event.event_type.kind().name(), "DataFlow" | "ActorCompleted" | "ActorFailed");
        marks || event.is_error() || !knows(&event.actor_id)
    }

    fn seen(&mut self, actor: &str, time: DateTime<Utc>) -> u32 {
        let number = self.names.number(actor);
        let kept = &mut self.kept;
        let first = self.first_seen.entry(number).or_insert_with(|| {
            *kept += 1;
            time
        });
        *first = time.min(*first);
        number
    }

    fn mark(&mut self, actor: u32, key: EventKey, mark: Mark) {
        if self.lanes.entry(actor).or_default().add(key, mark) {
            self.kept += 1;
        }
    }
}

/// The measured execution time. Clients of Reflow's first protocol measure nothing and say 0 everywhere.
fn execution_ns(metrics: &PerformanceMetrics) -> Option<u64> {
    let measures = [metrics.memory_usage_bytes, metrics.queue_depth];
    let says_zero = metrics.execution_time_ns == Some(0)
        && measures == [Some(0); 2]
        && metrics.cpu_usage_percent == Some(0.0)
        && metrics.throughput_msgs_per_sec == Some(0.0);
    metrics.execution_time_ns.filter(|_| !says_zero)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_ERROR)]
}
