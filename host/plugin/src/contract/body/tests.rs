use chrono::DateTime;
use proptest::prelude::*;
use reflow_tracing_conformance::generate;
use reflow_tracing_model::{
    CausalityInfo, EventId, ExecutionId, ExecutionStatus, FlowId, FlowVersion, MessageSnapshot, More,
    PerformanceMetrics, StateDiff, StateDiffType, TraceEventData, TraceEventType, TraceId, TraceMetadata,
};
use serde_json::json;
use uuid::Uuid;

use super::*;

proptest! {
    #[test]
    fn an_event_comes_back_from_its_body(event in generate::any_event()) {
        prop_assert_eq!(decode::<TraceEvent>(&encode(&event)).unwrap(), event);
    }

    #[test]
    fn a_header_comes_back_from_its_body(header in generate::any_header()) {
        prop_assert_eq!(decode::<FlowTrace>(&encode(&header)).unwrap(), header);
    }

    #[test]
    fn a_truncated_or_extended_body_is_refused(event in generate::any_event(), cut: prop::sample::Index) {
        let mut body = encode(&event);
        prop_assert!(decode::<TraceEvent>(&body[..cut.index(body.len())]).is_err());
        body.push(0);
        prop_assert!(matches!(decode::<TraceEvent>(&body), Err(DecodeError::Trailing(1))));
    }

    #[test]
    fn bytes_that_are_not_a_body_are_refused_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in [FIRST_VERSION, WITH_ADDITIONS] {
            bytes.insert(0, version);
            let _ = (decode::<FlowTrace>(&bytes), decode::<TraceEvent>(&bytes));
        }
    }

    #[test]
    fn a_damaged_body_causes_no_panic(event in generate::any_event(), place: prop::sample::Index, byte: u8) {
        let mut body = encode(&event);
        let place = place.index(body.len());
        body[place] = byte;
        let _ = decode::<TraceEvent>(&body);
    }
}

#[test]
fn a_body_of_another_version_is_refused_by_its_number() {
    let mut body = encode(&TraceEvent::default());
    for version in [0].into_iter().chain(WITH_ADDITIONS + 1..=255) {
        body[0] = version;
        assert!(matches!(decode::<TraceEvent>(&body), Err(DecodeError::Version(found)) if found == version));
    }
    assert!(matches!(decode::<TraceEvent>(&[]), Err(DecodeError::Empty)));
}

fn golden_event() -> TraceEvent {
    let id = |number| EventId(Uuid::from_u128(number));
    TraceEvent {
        event_id: id(1),
        timestamp: DateTime::from_timestamp_nanos(1_750_000_000_123_456_789),
        event_type: TraceEventType::DataFlow { to_actor: "mailer".into(), to_port: "in".into() },
        actor_id: "parser\0ü".into(),
        data: TraceEventData {
            port: Some("out".into()),
            message: Some(MessageSnapshot {
                message_type: "Invoice".into(),
                size_bytes: u64::MAX,
                checksum: "c0ffee".into(),
                serialized_data: vec![0, 127, 128, 255],
                more: More::EMPTY,
            }),
            state_diff: Some(StateDiff {
                before: Some(vec![1]),
                after: vec![2, 3],
                diff_type: StateDiffType::Incremental,
                more: More::EMPTY,
            }),
            error: Some("late".into()),
            performance_metrics: PerformanceMetrics {
                execution_time_ns: Some(1),
                memory_usage_bytes: Some(2),
                cpu_usage_percent: Some(99.5),
                queue_depth: Some(3),
                throughput_msgs_per_sec: Some(0.1),
                more: More::EMPTY,
            },
            custom_attributes: [("a".into(), json!([null, true, -1, 18446744073709551615_u64, 0.1, {"b": "ü"}]))]
                .into(),
            more: More::EMPTY,
        },
        causality: CausalityInfo {
            parent_event_id: Some(id(2)),
            root_cause_event_id: id(3),
            dependency_chain: vec![id(4), id(u128::MAX)],
            span_id: "span".into(),
            more: More::EMPTY,
        },
        more: More::EMPTY,
    }
}

fn golden_header() -> FlowTrace {
    FlowTrace {
        trace_id: TraceId(Uuid::from_u128(1)),
        flow_id: FlowId::new("invoices"),
        execution_id: ExecutionId(Uuid::from_u128(2)),
        version: FlowVersion {
            major: 1,
            minor: 2,
            patch: u32::MAX,
            git_hash: Some("3ca0f92".into()),
            timestamp: DateTime::from_timestamp_nanos(-1),
            more: More::EMPTY,
        },
        start_time: DateTime::from_timestamp_nanos(1_750_000_000_000_000_001),
        end_time: Some(DateTime::from_timestamp_nanos(i64::MAX)),
        status: ExecutionStatus::Failed { error: "late".into() },
        events: Vec::new(),
        metadata: TraceMetadata {
            user_id: Some("ada".into()),
            session_id: None,
            environment: "production".into(),
            hostname: "host".into(),
            process_id: 7,
            thread_id: "main".into(),
            tags: [("env".into(), "prod".into()), ("team".into(), String::new())].into(),
            more: More::EMPTY,
        },
        more: More::EMPTY,
    }
}

#[test]
fn the_bodies_of_recorded_events_take_a_quarter_of_their_json() {
    let recording = include_str!("../../../fixtures/reflow-session.jsonl");
    let (mut json, mut bodies) = (0, 0);
    for line in recording.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(event) = line["frame"]["RecordEvent"].get("event") {
            let event: TraceEvent = serde_json::from_value(event.clone()).unwrap();
            json += serde_json::to_string(&event).unwrap().len();
            bodies += encode(&event).len();
        }
    }
    assert!(bodies * 4 < json, "{bodies} bytes, {json} of JSON");
}

/// Stores have bodies for years, so old versions must stay readable.
#[test]
fn bodies_of_version_1_are_still_readable() {
    let event = include_str!("golden/event.v1.hex");
    let header = include_str!("golden/header.v1.hex");
    assert_eq!(decode::<TraceEvent>(&from_hex(event)).unwrap(), golden_event());
    assert_eq!(decode::<FlowTrace>(&from_hex(header)).unwrap(), golden_header());
}

/// An event with everything that the first version of the model does not have.
fn golden_event_with_additions() -> TraceEvent {
    let mut event = golden_event();
    event.data.performance_metrics.execution_time_ns = None;
    event.data.performance_metrics.queue_depth = None;
    event.data.message.as_mut().unwrap().more.insert("content_codec", json!("zstd"));
    event.more.insert("sequence", json!(7));
    event
}

#[test]
fn bodies_of_version_2_are_still_readable() {
    let event = include_str!("golden/event.v2.hex");
    assert_eq!(to_hex(&encode(&golden_event_with_additions())), event.trim());
    assert_eq!(decode::<TraceEvent>(&from_hex(event)).unwrap(), golden_event_with_additions());
}

/// A change of the model that changes the encoding fails here. It needs a new version.
#[test]
fn a_body_without_additions_is_encoded_as_version_1() {
    assert_eq!(to_hex(&encode(&golden_event())), include_str!("golden/event.v1.hex").trim());
    assert_eq!(to_hex(&encode(&golden_header())), include_str!("golden/header.v1.hex").trim());
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.trim().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
