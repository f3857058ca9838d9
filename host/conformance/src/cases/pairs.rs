use std::time::Duration;

use chrono::TimeDelta;

use super::super::case::cases;
use super::super::{Outcome, Store};
use super::sample::{at_second, event_of, finds, store_each, trace, with_events, with_tags};
use reflow_tracing_model::{
    ExecutionStatus, FlowId, FlowTrace, TraceEvent, TraceEventData, TraceEventKind, TraceEventType, TraceQuery,
};

cases! { "pairs":
    each_predicate_alone_finds_its_traces => "A predicate finds the traces that it holds for.",
    each_pair_of_predicates_finds_what_both_find => "Predicates combine with AND, whichever two they are.",
}

/// A predicate, and the numbers of the [`traces`] that it holds for, worked out by hand.
struct Predicate {
    /// The field of the query. A query has one predicate for each.
    field: &'static str,
    set: fn(TraceQuery) -> TraceQuery,
    holds_for: &'static [u32],
}

const PREDICATES: &[Predicate] = &[
    Predicate {
        field: "flow_id",
        set: |query| TraceQuery { flow_id: Some(FlowId::new("billing")), ..query },
        holds_for: &[1, 2, 3, 7, 8],
    },
    Predicate {
        field: "execution_id",
        set: |query| TraceQuery { execution_id: Some(trace(2).execution_id), ..query },
        holds_for: &[2, 8],
    },
    Predicate {
        field: "time_range",
        set: |query| TraceQuery { time_range: Some((at_second(3), at_second(6))), ..query },
        holds_for: &[3, 4, 5, 6],
    },
    Predicate {
        field: "status",
        set: |query| TraceQuery { status: Some(ExecutionStatus::Completed), ..query },
        holds_for: &[2, 4, 8],
    },
    Predicate {
        field: "status",
        set: |query| TraceQuery { status: Some(ExecutionStatus::Failed { error: String::new() }), ..query },
        holds_for: &[3, 5],
    },
    Predicate {
        field: "actor_filter",
        set: |query| TraceQuery { actor_filter: Some("pars".into()), ..query },
        holds_for: &[2, 3, 6, 8],
    },
    Predicate {
        field: "event_types",
        set: |query| TraceQuery {
            event_types: Some(vec![TraceEventKind::ActorCreated, TraceEventKind::ActorStarted]),
            ..query
        },
        holds_for: &[3, 6, 7],
    },
    Predicate {
        field: "tags",
        set: |query| TraceQuery { tags: [("env".into(), "prod".into())].into(), ..query },
        holds_for: &[2, 3, 5, 7],
    },
    Predicate {
        field: "min_duration",
        set: |query| TraceQuery { min_duration: Some(Duration::from_secs(3)), ..query },
        holds_for: &[3, 4, 5, 8],
    },
    Predicate {
        field: "max_duration",
        set: |query| TraceQuery { max_duration: Some(Duration::from_secs(4)), ..query },
        holds_for: &[2, 3, 4, 7],
    },
    Predicate {
        field: "has_error",
        set: |query| TraceQuery { has_error: Some(true), ..query },
        holds_for: &[3, 4, 5, 6, 8],
    },
    Predicate {
        field: "has_error",
        set: |query| TraceQuery { has_error: Some(false), ..query },
        holds_for: &[1, 2, 7],
    },
];

/// Trace `number` is at `number - 1`.
fn traces() -> [FlowTrace; 8] {
    use ExecutionStatus::{Cancelled, Completed, Failed};
    use TraceEventType::{ActorCreated, ActorFailed, ActorStarted, MessageSent};

    let of = |flow: &str, number| FlowTrace { flow_id: FlowId::new(flow), ..trace(number) };
    let ended = |trace: FlowTrace, seconds, status| {
        let end_time = Some(trace.start_time + TimeDelta::seconds(seconds));
        FlowTrace { end_time, status, ..trace }
    };
    let event = |number, actor, event_type| TraceEvent { event_type, ..event_of(number, actor) };
    let erring = TraceEvent {
        data: TraceEventData { error: Some("lost".into()), ..TraceEventData::default() },
        ..event(1, "parser", ActorCreated)
    };
    let failed = |error: &str| Failed { error: error.into() };
    [
        of("billing", 1),
        with_tags(
            with_events(ended(of("billing", 2), 2, Completed), [event(1, "parser", MessageSent)]),
            &[("env", "prod")],
        ),
        with_tags(
            with_events(
                ended(of("billing", 3), 3, failed("late")),
                [event(1, "parser", ActorCreated), event(2, "mailer", MessageSent)],
            ),
            &[("env", "prod"), ("team", "a")],
        ),
        with_tags(
            with_events(ended(of("mailing", 4), 4, Completed), [event(1, "mailer", ActorFailed)]),
            &[("env", "dev")],
        ),
        with_tags(ended(of("mailing", 5), 5, failed("")), &[("env", "prod")]),
        with_tags(with_events(of("mailing", 6), [erring]), &[("team", "a")]),
        with_tags(
            with_events(ended(of("billing", 7), 1, Cancelled), [event(1, "Parser", ActorStarted)]),
            &[("env", "prod")],
        ),
        FlowTrace {
            execution_id: trace(2).execution_id,
            ..with_tags(
                with_events(
                    ended(of("billing", 8), 10, Completed),
                    [event(1, "mailer", MessageSent), event(2, "parser", ActorFailed)],
                ),
                &[("env", "dev"), ("team", "a")],
            )
        },
    ]
}

/// Checks that the query finds the traces of these ascending numbers, the newest first.
async fn finds_numbers(store: &Store, what: &str, query: TraceQuery, numbers: impl Iterator<Item = u32>) -> Outcome {
    let traces = traces();
    let mut expected: Vec<_> = numbers.map(|number| &traces[number as usize - 1]).collect();
    expected.reverse();
    finds(store, what, query, &expected).await
}

async fn each_predicate_alone_finds_its_traces(store: &Store) -> Outcome {
    store_each(store, &traces()).await?;
    for Predicate { field, set, holds_for } in PREDICATES {
        let query = set(TraceQuery::default());
        finds_numbers(store, &format!("traces by {field}"), query, holds_for.iter().copied()).await?;
    }
    Ok(())
}

async fn each_pair_of_predicates_finds_what_both_find(store: &Store) -> Outcome {
    store_each(store, &traces()).await?;
    for (index, one) in PREDICATES.iter().enumerate() {
        for other in PREDICATES[index + 1..].iter().filter(|other| other.field != one.field) {
            let query = (other.set)((one.set)(TraceQuery::default()));
            let both = one.holds_for.iter().copied().filter(|number| other.holds_for.contains(number));
            finds_numbers(store, &format!("traces by {} and {}", one.field, other.field), query, both).await?;
        }
    }
    Ok(())
}
