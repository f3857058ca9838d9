//! The report against a plain version of the same rules, which sorts all events first and searches lists.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use reflow_tracing_model::{
    CausalityInfo, EventId, EventKey, MessageSnapshot, PerformanceMetrics, TraceEvent, TraceEventData, TraceEventType,
};
use reflow_tracing_spans::{Activation, Spans};
use uuid::Uuid;

/// An activation by its events.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    actor: String,
    message: Option<TraceEventIds>,
    end: Option<TraceEventIds>,
    failed: bool,
    producer: Option<EventKey>,
}

/// What the comparison needs of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TraceEventIds {
    key: EventKey,
}

fn receiver(event: &TraceEvent) -> Option<&str> {
    event.event_type.to_actor()
}

fn is_end(event: &TraceEvent) -> bool {
    matches!(event.event_type, TraceEventType::ActorCompleted | TraceEventType::ActorFailed)
}

impl Plain {
    fn key(&self) -> EventKey {
        self.message.as_ref().or(self.end.as_ref()).expect("one of them").key
    }
}

/// The events of an actor's activations, in order.
fn activations_of(actor: &str, events: &[&TraceEvent]) -> Vec<Plain> {
    let mut found: Vec<Plain> = Vec::new();
    for event in events {
        let ids = Some(TraceEventIds { key: event.key() });
        let new = |message, end| Plain { actor: actor.into(), message, end, failed: false, producer: None };
        if receiver(event) == Some(actor) {
            found.push(new(ids, None));
        } else if is_end(event) && event.actor_id == actor {
            let is_open = |plain: &&mut Plain| plain.end.is_none();
            let parent = event.causality.parent_event_id;
            let named = found.iter().position(|plain| {
                plain.end.is_none() && plain.message.as_ref().is_some_and(|message| Some(message.key.1) == parent)
            });
            let ended = match named {
                Some(index) => Some(&mut found[index]),
                None => found.iter_mut().find(is_open),
            };
            match ended {
                Some(plain) => plain.end = ids,
                None => found.push(new(None, ids)),
            }
        }
    }
    found
}

/// The activation of `all` that produced the message of `event`.
fn producer_of(event: &TraceEvent, all: &[Plain]) -> Option<EventKey> {
    let of_sender = || all.iter().filter(|plain| plain.actor == event.actor_id);
    let parent = event.causality.parent_event_id?;
    let has = |ids: &Option<TraceEventIds>| ids.as_ref().is_some_and(|ids| ids.key.1 == parent);
    of_sender().find(|plain| (has(&plain.message) || has(&plain.end)) && plain.key() < event.key()).map(Plain::key)
}

fn producer_by_time(event: &TraceEvent, all: &[Plain]) -> Option<EventKey> {
    let of_sender = || all.iter().filter(|plain| plain.actor == event.actor_id);
    let end = |plain: &&Plain| plain.end.as_ref().map(|end| end.key);
    let ended = of_sender().filter(|plain| end(plain).is_some_and(|end| end < event.key()));
    let latest = ended.max_by_key(end).map(Plain::key);
    latest.or_else(|| of_sender().map(Plain::key).min().filter(|first| *first < event.key()))
}

fn plain(events: &[TraceEvent]) -> Vec<Plain> {
    let mut unique: BTreeMap<EventKey, &TraceEvent> = BTreeMap::new();
    for event in events {
        unique.entry(event.key()).or_insert(event);
    }
    let sorted: Vec<&TraceEvent> = unique.into_values().collect();
    let mut actors: Vec<&str> =
        sorted.iter().flat_map(|event| [Some(&*event.actor_id), receiver(event)]).flatten().collect();
    actors.sort_unstable();
    actors.dedup();
    let mut all: Vec<Plain> = actors.iter().flat_map(|actor| activations_of(actor, &sorted)).collect();
    let known = all.clone();
    for plain in &mut all {
        let Some(message) = &plain.message else { continue };
        let event = sorted.iter().find(|event| event.key() == message.key).expect("it was sorted");
        plain.producer = producer_of(event, &known).or_else(|| producer_by_time(event, &known));
    }
    for event in sorted.iter().filter(|event| event.is_error()) {
        let mut of_actor: Vec<&mut Plain> = all.iter_mut().filter(|plain| plain.actor == event.actor_id).collect();
        let end = |plain: &Plain| plain.end.as_ref().map(|end| end.key);
        let next = of_actor.iter().filter_map(|plain| end(plain)).filter(|end| *end >= event.key()).min();
        let place =
            of_actor.iter().position(|plain| end(plain) == next && next.is_some() && plain.key() <= event.key());
        let open = || {
            let mut open: Vec<_> = (0..of_actor.len()).filter(|place| end(of_actor[*place]).is_none()).collect();
            open.sort_by_key(|place| of_actor[*place].key());
            open.first().copied().filter(|place| of_actor[*place].key() <= event.key())
        };
        if let Some(place) = place.or_else(open) {
            of_actor[place].failed = true;
        }
    }
    all.sort_by_key(Plain::key);
    all
}

/// What the report says, in the same terms.
fn reported(activations: &[Activation], events: &[TraceEvent]) -> Vec<Plain> {
    let key = |id: EventId| {
        let event = events.iter().find(|event| event.event_id == id).expect("a reported event was added");
        TraceEventIds { key: event.key() }
    };
    let of = |activation: &Activation| Plain {
        actor: activation.actor.to_string(),
        message: activation.message.as_ref().map(|message| key(message.event_id)),
        end: activation.end_event.map(key),
        failed: activation.failed,
        producer: None,
    };
    let mut all: Vec<Plain> = activations.iter().map(of).collect();
    for (index, activation) in activations.iter().enumerate() {
        all[index].producer = activation.produced_by.map(|producer| all[producer].key());
    }
    all
}

fn event() -> impl Strategy<Value = TraceEvent> {
    let kind = prop_oneof![
        4 => (0..3_usize, 0..2_usize).prop_map(|(to, port)| TraceEventType::DataFlow {
            to_actor: ["a", "b", "c"][to].into(),
            to_port: ["in", "control"][port].into(),
        }),
        3 => Just(TraceEventType::ActorCompleted),
        1 => Just(TraceEventType::ActorFailed),
        1 => Just(TraceEventType::MessageReceived),
    ];
    let error = proptest::option::weighted(0.1, Just("broken".to_owned()));
    let parent = proptest::option::weighted(0.3, 0..40_u128);
    let time = proptest::option::weighted(0.3, 0..50_u64);
    (0..40_u128, 0..30_u64, kind, 0..3_usize, error, parent, time, 0..100_u64).prop_map(
        |(id, nanos, event_type, actor, error, parent, execution_time_ns, size_bytes)| TraceEvent {
            // One time for each id: an event that comes again is the same event.
            event_id: EventId(Uuid::from_u128(id * 100 + u128::from(nanos))),
            timestamp: chrono::DateTime::UNIX_EPOCH + Duration::from_nanos(nanos),
            event_type,
            actor_id: ["a", "b", "c"][actor].into(),
            data: TraceEventData {
                error,
                message: Some(MessageSnapshot { size_bytes, ..MessageSnapshot::default() }),
                performance_metrics: PerformanceMetrics { execution_time_ns, ..PerformanceMetrics::default() },
                ..TraceEventData::default()
            },
            causality: CausalityInfo {
                parent_event_id: parent.map(|id| EventId(Uuid::from_u128(id * 100 + u128::from(nanos / 2)))),
                ..CausalityInfo::default()
            },
            ..TraceEvent::default()
        },
    )
}

/// Without the events whose id another event has too.
fn unique(mut events: Vec<TraceEvent>) -> Vec<TraceEvent> {
    events.sort_by_key(TraceEvent::key);
    events.dedup_by_key(|event| event.key());
    events
}

proptest! {
    #[test]
    fn events_in_any_order_give_what_the_plain_version_gives(events in vec(event(), 0..60), order in any::<u64>()) {
        let events = unique(events);
        let mut shuffled = events.clone();
        let mut random = order;
        for place in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(place, (random >> 33) as usize % (place + 1));
        }
        let mut spans = Spans::default();
        for (place, event) in shuffled.iter().enumerate() {
            prop_assert!(spans.add(event));
            if place % 7 == 3 {
                // A report on the way, and an event that comes again, change nothing.
                spans.report();
                spans.add(&shuffled[place / 2]);
            }
        }
        let report = spans.report();
        prop_assert_eq!(reported(&report.activations, &events), plain(&events));
        prop_assert_eq!(report.left_out, 0);

        let mut in_order = Spans::default();
        events.iter().for_each(|event| prop_assert_unwind(in_order.add(event)));
        prop_assert_eq!(in_order.report(), report.clone());

        // Each activation is counted once by its actor, and each message once by its edge.
        let counted: u64 = report.actors.iter().map(|actor| actor.ended + actor.open).sum();
        prop_assert_eq!(counted as usize, report.activations.len());
        let messages: u64 = report.edges.iter().map(|edge| edge.traffic.messages).sum();
        prop_assert_eq!(messages as usize, report.activations.iter().filter(|one| one.message.is_some()).count());
        for path in [Some(&report.critical_path), report.first_failure.as_ref().map(|failure| &failure.path)] {
            let path = path.map_or(&[][..], |path| path);
            let follows = |pair: &[usize]| report.activations[pair[1]].produced_by == Some(pair[0]);
            prop_assert!(path.windows(2).all(follows), "{:?}", path);
        }
        if let Some(failure) = &report.first_failure {
            let before = failure.path.split_last().map_or(&[][..], |(_, before)| before);
            prop_assert!(before.iter().all(|index| !report.activations[*index].failed), "{:?}", failure);
        }
        prop_assert_eq!(report.first_failure.is_some(), events.iter().any(TraceEvent::is_error));
    }
}

fn prop_assert_unwind(added: bool) {
    assert!(added, "there is room");
}
