//! Which activation produced which message, what led to the end of the trace, and what failed first.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use reflow_tracing_model::EventKey;

use crate::lane::{Lane, Slot};
use crate::report::{Activation, Failure, FailureGroup, Message};
use crate::spans::Spans;

/// The activations of all actors in order, and where each is.
pub(crate) struct Activations {
    pub list: Vec<Activation>,
    /// Where the activations of an actor are in the list, by the actor and the place in its lane.
    places: HashMap<u32, Vec<usize>>,
}

/// The activations, without those that only their failures tell about.
pub(crate) fn activations(spans: &Spans) -> Activations {
    let of_lane = |(actor, lane): (&u32, &Lane)| {
        let actor = *actor;
        let slots = lane.matched().slots.iter().enumerate();
        slots.map(move |(place, slot)| (slot.key(), actor, place)).collect::<Vec<_>>()
    };
    let mut order: Vec<(EventKey, u32, usize)> = spans.lanes.iter().flat_map(of_lane).collect();
    order.sort_unstable();
    let mut places: HashMap<u32, Vec<usize>> =
        spans.lanes.iter().map(|(actor, lane)| (*actor, vec![0; lane.matched().slots.len()])).collect();
    for (index, (_, actor, place)) in order.iter().enumerate() {
        if let Some(places) = places.get_mut(actor) {
            places[*place] = index;
        }
    }
    let list = order.iter().map(|(_, actor, place)| {
        let lane = &spans.lanes[actor];
        activation(spans, *actor, lane, lane.matched().slots[*place], &places)
    });
    let list = list.collect();
    let mut activations = Activations { list, places };
    for (key, (actor, text)) in &spans.failures {
        if let Some(index) = activations.of_event(spans, *actor, *key) {
            let failed = &mut activations.list[index];
            failed.failed = true;
            failed.error = failed.error.take().or_else(|| text.map(|text| spans.names.name(text)));
        }
    }
    activations
}

fn activation(spans: &Spans, actor: u32, lane: &Lane, slot: Slot, places: &HashMap<u32, Vec<usize>>) -> Activation {
    let end = slot.end.and_then(|key| lane.end(key));
    let nanos = |key: EventKey| key.0;
    let execution_ns = end.and_then(|end| end.execution_ns);
    let length = execution_ns.and_then(|length| i64::try_from(length).ok());
    let started = slot.end.zip(length).map(|(key, length)| key.0.saturating_sub(length));
    let between = |from: i64, to: i64| to.saturating_sub(from).max(0).unsigned_abs();
    let arrived = slot.arrival.map(nanos);
    let message = slot.arrival.and_then(|key| {
        let arrival = lane.arrival(key)?;
        Some(Message {
            event_id: key.1,
            time: time(key.0),
            from_actor: spans.names.name(arrival.from),
            from_port: arrival.from_port.map(|port| spans.names.name(port)),
            to_port: spans.names.name(arrival.to_port),
            bytes: arrival.bytes,
        })
    });
    Activation {
        actor: spans.names.name(actor),
        message,
        started: started.map(time),
        ended: slot.end.map(|key| time(key.0)),
        end_event: slot.end.map(|key| key.1),
        latency_ns: arrived.zip(slot.end).map(|(from, key)| between(from, key.0)),
        execution_ns,
        waiting_ns: arrived.zip(started).map(|(from, to)| between(from, to)),
        failed: end.is_some_and(|end| end.failed),
        error: None,
        produced_by: slot.arrival.and_then(|key| producer(spans, lane, key, places)),
    }
}

/// The activation that produced the message. It comes before the message, whatever events claim, so that no path is a circle.
fn producer(spans: &Spans, lane: &Lane, key: EventKey, places: &HashMap<u32, Vec<usize>>) -> Option<usize> {
    let arrival = lane.arrival(key)?;
    let sender = spans.lanes.get(&arrival.from)?.matched();
    let comes_before = |place: &usize| sender.slots[*place].key() < key;
    let named = arrival.parent.and_then(|parent| sender.of_event(parent)).filter(comes_before);
    let place = named.or_else(|| sender.ended_before(key).filter(comes_before))?;
    Some(places[&arrival.from][place])
}

impl Activations {
    /// The activation that an event of an actor belongs to.
    fn of_event(&self, spans: &Spans, actor: u32, key: EventKey) -> Option<usize> {
        let place = spans.lanes.get(&actor)?.matched().during(key)?;
        Some(self.places[&actor][place])
    }

    /// The activations that led to this one, the first one first, and it.
    fn path_to(&self, index: usize) -> Vec<usize> {
        let mut path: Vec<_> = std::iter::successors(Some(index), |index| self.list[*index].produced_by).collect();
        path.reverse();
        path
    }

    /// The path to the activation that ended last.
    pub(crate) fn critical_path(&self) -> Vec<usize> {
        let ended = (0..self.list.len()).filter(|index| self.list[*index].ended.is_some());
        ended.max_by_key(|index| self.list[*index].ended).map_or_else(Vec::new, |last| self.path_to(last))
    }

    /// The earliest failure that no failed activation led to.
    pub(crate) fn first_failure(&self, spans: &Spans) -> Option<Failure> {
        // Producers come first in the list.
        let mut follows_failure = vec![false; self.list.len()];
        for (index, activation) in self.list.iter().enumerate() {
            follows_failure[index] =
                activation.produced_by.is_some_and(|producer| self.list[producer].failed || follows_failure[producer]);
        }
        spans.failures.iter().find_map(|(key, (actor, text))| {
            let index = self.of_event(spans, *actor, *key);
            if index.is_some_and(|index| follows_failure[index]) {
                return None;
            }
            Some(Failure {
                event_id: key.1,
                time: time(key.0),
                actor: spans.names.name(*actor),
                error: text.map(|text| spans.names.name(text)),
                path: index.map_or_else(Vec::new, |index| self.path_to(index)),
            })
        })
    }
}

/// The failures of the same actor with the same text.
pub(crate) fn failure_groups(spans: &Spans) -> Vec<FailureGroup> {
    let mut places = HashMap::new();
    let mut groups: Vec<FailureGroup> = Vec::new();
    for (key, (actor, text)) in &spans.failures {
        let place = *places.entry((*actor, *text)).or_insert_with(|| {
            groups.push(FailureGroup {
                actor: spans.names.name(*actor),
                error: text.map(|text| spans.names.name(text)),
                count: 0,
                first: time(key.0),
                last: time(key.0),
            });
            groups.len() - 1
        });
        groups[place].count += 1;
        groups[place].last = time(key.0);
    }
    groups
}

/// The time of an event, whose key has its nanoseconds since 1970.
fn time(nanos: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::nanoseconds(nanos)
}
