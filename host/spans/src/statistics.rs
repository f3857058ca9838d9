//! Statistics of actors and of edges, from their activations.

use std::collections::{BTreeMap, HashMap};

use crate::causes::{Activations, failure_groups};
use crate::report::{Activation, Actor, Edge, Message, Report, Traffic};
use crate::spans::Spans;
use crate::{Name, Quantiles};

/// What activations have in common.
#[derive(Default)]
struct Samples {
    ended: u64,
    open: u64,
    failed: u64,
    received: Traffic,
    latency: Vec<u64>,
    execution: Vec<u64>,
    waiting: Vec<u64>,
}

impl Samples {
    fn add(&mut self, activation: &Activation) {
        match activation.ended {
            Some(_) => self.ended += 1,
            None => self.open += 1,
        }
        self.failed += u64::from(activation.failed);
        if let Some(message) = &activation.message {
            self.received.add(message);
        }
        self.latency.extend(activation.latency_ns);
        self.execution.extend(activation.execution_ns);
        self.waiting.extend(activation.waiting_ns);
    }
}

impl Traffic {
    fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(message.bytes);
    }
}

/// The whole report.
pub(crate) fn of(spans: &Spans, activations: Activations) -> Report {
    Report {
        actors: actors(spans, &activations.list),
        edges: edges(&activations.list),
        critical_path: activations.critical_path(),
        first_failure: activations.first_failure(spans),
        failures: failure_groups(spans),
        left_out: spans.left_out,
        activations: activations.list,
    }
}

fn actors(spans: &Spans, activations: &[Activation]) -> Vec<Actor> {
    let mut samples: HashMap<&Name, Samples> = HashMap::new();
    let mut sent: HashMap<&Name, Traffic> = HashMap::new();
    for activation in activations {
        samples.entry(&activation.actor).or_default().add(activation);
        if let Some(message) = &activation.message {
            sent.entry(&message.from_actor).or_default().add(message);
        }
    }
    let mut order: Vec<_> = spans.first_seen.iter().map(|(actor, time)| (*time, spans.names.name(*actor))).collect();
    order.sort_unstable();
    let actor = |(first_seen, name): (_, Name)| {
        let Samples { ended, open, failed, received, latency, execution, waiting } =
            samples.remove(&name).unwrap_or_default();
        Actor {
            first_seen,
            ended,
            open,
            failed,
            received,
            sent: sent.get(&name).copied().unwrap_or_default(),
            latency: Quantiles::of(latency),
            execution: Quantiles::of(execution),
            waiting: Quantiles::of(waiting),
            actor: name,
        }
    };
    order.into_iter().map(actor).collect()
}

/// The actor and port that messages go from, and those that they go to.
type Ends<'a> = (&'a Name, &'a Option<Name>, &'a Name, &'a Name);

fn edges(activations: &[Activation]) -> Vec<Edge> {
    let mut samples: BTreeMap<Ends<'_>, Samples> = BTreeMap::new();
    for activation in activations {
        let Some(message) = &activation.message else { continue };
        let Message { from_actor, from_port, to_port, .. } = message;
        samples.entry((from_actor, from_port, &activation.actor, to_port)).or_default().add(activation);
    }
    let edge = |((from_actor, from_port, to_actor, to_port), samples): (Ends<'_>, Samples)| Edge {
        from_actor: from_actor.clone(),
        from_port: from_port.clone(),
        to_actor: to_actor.clone(),
        to_port: to_port.clone(),
        traffic: samples.received,
        open: samples.open,
        failed: samples.failed,
        latency: Quantiles::of(samples.latency),
        waiting: Quantiles::of(samples.waiting),
    };
    samples.into_iter().map(edge).collect()
}
