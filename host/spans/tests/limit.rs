//! What a limit leaves out.

use reflow_tracing_model::{TraceEvent, TraceEventType};
use reflow_tracing_spans::Spans;

fn completed(actor: &str) -> TraceEvent {
    TraceEvent { actor_id: actor.into(), event_type: TraceEventType::ActorCompleted, ..TraceEvent::default() }
}

#[test]
fn events_beyond_the_limit_are_left_out_and_counted() {
    let mut spans = Spans::with_limit(100);
    let kept = (0..200).filter(|_| spans.add(&completed("a"))).count();
    assert!((95..=100).contains(&kept), "{kept}");
    let report = spans.report();
    assert_eq!((report.activations.len(), report.left_out), (kept, 200 - kept as u64));

    // What needs no room is taken.
    let known = TraceEvent { event_type: TraceEventType::MessageReceived, ..completed("a") };
    assert!(spans.add(&known) && !spans.add(&TraceEvent { actor_id: "b".into(), ..known }));
}

#[test]
fn actors_alone_reach_the_limit_too() {
    let mut spans = Spans::with_limit(100);
    let created = |actor: usize| TraceEvent { actor_id: actor.to_string(), ..TraceEvent::default() };
    assert!((0..200).filter(|actor| spans.add(&created(*actor))).count() <= 100);
    assert!(spans.report().actors.len() <= 100);
}

#[test]
fn long_errors_are_cut() {
    let error = "ä".repeat(10_000);
    let mut failed = completed("a");
    failed.data.error = Some(error);
    let mut spans = Spans::default();
    spans.add(&failed);
    let report = spans.report();
    assert_eq!(report.activations[0].error.as_ref().map(|error| error.len()), Some(1024));
    assert_eq!(report.failures[0].count, 1);
}
