//! The model's JSON is Reflow's: what either program writes, the other reads to an equal value.

use proptest::prelude::*;
use reflow_tracing::{FlowTrace, TraceEvent, TraceEventKind, TraceQuery};
use reflow_tracing_conformance::generate;
use reflow_tracing_protocol as reflow;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// Ours written and read by Reflow's type, then the reverse.
fn travels<Ours, Theirs>(ours: &Ours) -> Result<(), TestCaseError>
where
    Ours: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    Theirs: Serialize + DeserializeOwned,
{
    let theirs: Theirs = read(&write(ours));
    let text = write(&theirs);
    prop_assert_eq!(read::<Value>(&text), read::<Value>(&write(ours)));
    prop_assert_eq!(&read::<Ours>(&text), ours);
    // The same through a tree of values, which is how an envelope is often taken apart.
    let tree = serde_json::to_value(&theirs).unwrap();
    prop_assert_eq!(&serde_json::to_value(ours).unwrap(), &tree);
    prop_assert_eq!(&serde_json::from_value::<Ours>(tree).unwrap(), ours);
    Ok(())
}

proptest! {
    #[test]
    fn a_trace_travels_unchanged(trace in generate::any_reflow_trace()) {
        travels::<_, reflow::FlowTrace>(&trace)?;
    }

    #[test]
    fn an_event_travels_unchanged(event in generate::any_reflow_event()) {
        travels::<_, reflow::TraceEvent>(&event)?;
    }

    #[test]
    fn a_query_with_reflows_fields_travels_unchanged(query in generate::any_reflow_query()) {
        travels::<_, reflow::TraceQuery>(&query)?;
        prop_assert_eq!(write(&read::<reflow::TraceQuery>(&write(&query))), write(&query));
    }

    /// Maps of several entries aside, whose order Reflow leaves open.
    #[test]
    fn the_json_of_a_trace_is_identical_to_reflows(mut trace in generate::any_reflow_trace()) {
        while trace.metadata.tags.len() > 1 {
            trace.metadata.tags.pop_first();
        }
        for event in &mut trace.events {
            while event.data.custom_attributes.len() > 1 {
                event.data.custom_attributes.pop_first();
            }
        }
        let ours = write(&trace);
        prop_assert_eq!(write(&read::<reflow::FlowTrace>(&ours)), ours);
    }

    #[test]
    fn a_query_with_our_own_fields_is_read_back_and_still_reflows(query in generate::pooled_query()) {
        let text = write(&query);
        prop_assert_eq!(&read::<TraceQuery>(&text), &query);
        let theirs: reflow::TraceQuery = read(&text);
        prop_assert_eq!(theirs.actor_filter, query.actor_filter);
    }
}

#[test]
fn every_event_that_reflow_makes_is_read_exactly() {
    let text = || "parser".to_owned();
    let events = [
        reflow::TraceEvent::actor_created(text()),
        reflow::TraceEvent::actor_completed(text()),
        reflow::TraceEvent::actor_failed(text(), "out of memory".into()),
        reflow::TraceEvent::message_sent(text(), "out".into(), "Invoice".into(), usize::MAX),
        reflow::TraceEvent::data_flow(text(), "out".into(), "mailer".into(), "in".into(), "Invoice".into(), 0),
    ];
    for theirs in events {
        let ours: TraceEvent = read(&write(&theirs));
        assert_eq!(write(&ours), write(&theirs));
    }
}

#[test]
fn every_event_type_has_reflows_name() {
    use reflow::TraceEventType::*;
    let types = [
        ActorCreated,
        ActorStarted,
        ActorCompleted,
        ActorFailed,
        MessageSent,
        MessageReceived,
        StateChanged,
        PortConnected,
        PortDisconnected,
        DataFlow { to_actor: "mailer".into(), to_port: "in".into() },
        NetworkEvent,
    ];
    assert_eq!(types.len(), TraceEventKind::ALL.len());
    for (theirs, kind) in types.iter().zip(TraceEventKind::ALL) {
        let ours: reflow_tracing::TraceEventType = read(&write(theirs));
        assert_eq!(ours.kind(), *kind);
        assert_eq!(write(&ours), write(theirs));
        assert_eq!(kind.name().parse(), Ok(*kind));
    }
}

#[test]
fn every_status_and_kind_of_difference_has_reflows_name() {
    use reflow::{ExecutionStatus::*, StateDiffType};
    for theirs in [Pending, Running, Completed, Failed { error: "\0".into() }, Cancelled] {
        let ours: reflow_tracing::ExecutionStatus = read(&write(&theirs));
        assert_eq!(write(&ours), write(&theirs));
    }
    for theirs in [StateDiffType::Full, StateDiffType::Incremental, StateDiffType::MemoryOnly] {
        let ours: reflow_tracing::StateDiffType = read(&write(&theirs));
        assert_eq!(write(&ours), write(&theirs));
    }
}

/// What a sender that formats times itself may write.
#[test]
fn times_with_any_number_of_digits_and_any_offset_are_read_exactly() {
    let mut trace = serde_json::to_value(FlowTrace::default()).unwrap();
    for (text, nanos) in [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:00.5Z", 500_000_000),
        ("1970-01-01T00:00:00.000001+00:00", 1_000),
        ("1970-01-01T02:00:00.000000001+02:00", 1),
    ] {
        trace["start_time"] = json!(text);
        let ours: FlowTrace = serde_json::from_value(trace.clone()).unwrap();
        let theirs: reflow::FlowTrace = serde_json::from_value(trace.clone()).unwrap();
        assert_eq!(ours.start_time.timestamp_nanos_opt(), Some(nanos), "{text}");
        assert_eq!(ours.start_time, theirs.start_time);
    }
}

#[test]
fn a_large_message_travels_unchanged() {
    let mut trace = FlowTrace::default();
    let data: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let message = reflow_tracing::MessageSnapshot { serialized_data: data, ..Default::default() };
    let performance_metrics = reflow_tracing::PerformanceMetrics::ZERO;
    let data = reflow_tracing::TraceEventData { message: Some(message), performance_metrics, ..Default::default() };
    trace.events.push(TraceEvent { data, ..Default::default() });
    travels::<_, reflow::FlowTrace>(&trace).unwrap();
}
