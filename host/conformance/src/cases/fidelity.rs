use chrono::DateTime;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::super::case::cases;
use super::super::compare::same;
use super::super::generate::any_trace;
use super::super::{Failure, Outcome, Store};
use super::sample::{
    at, comes_back, event, event_id, holds, trace, trace_id, with_attribute, with_data, with_events, with_tags,
};
use reflow_tracing_model::{
    ExecutionStatus, FlowId, FlowTrace, MAX_NAME_BYTES, MessageSnapshot, More, PerformanceMetrics, StateDiff,
    StateDiffType, TraceEvent, TraceEventData, TraceEventType,
};

cases! { "fidelity":
    every_field_comes_back => "Everything is returned exactly as it was stored.",
    every_event_type_and_status_comes_back => "Every case of the enumerations is kept, with its contents.",
    times_come_back_to_the_nanosecond => "Nanoseconds are kept, over the whole range of times.",
    every_byte_comes_back => "Bytes are kept, from none to many; absent is not empty.",
    every_text_comes_back => "Text is kept: `\\u0000`, quotes, any script, no normalisation.",
    integers_come_back_at_their_extremes => "64-bit integers are kept.",
    floats_come_back_bit_by_bit => "Floats are kept, the smallest and the largest too.",
    unmeasured_metrics_are_not_zero => "A metric that was not measured is returned as such, and a measured 0 as 0.",
    unknown_fields_come_back => "Fields that the model does not name are kept, at every level.",
    generated_traces_come_back => "Everything is returned exactly as it was stored, for generated traces.",
}

async fn every_field_comes_back(store: &Store) -> Outcome {
    let mut full = with_tags(trace(1), &[("env", "prod"), ("team", "")]);
    full.version.git_hash = Some("3ca0f92".into());
    full.end_time = Some(at(5));
    full.metadata.user_id = Some("ada".into());
    full.metadata.session_id = Some("session".into());
    full.metadata.hostname = "host".into();
    full.metadata.process_id = u32::MAX;
    full.metadata.thread_id = "main".into();
    let mut event = with_attribute(1, json!({"nested": [1, "two", null, {"three": 3.5}]}));
    event.data.port = Some("in".into());
    event.data.message = Some(MessageSnapshot {
        message_type: "Invoice".into(),
        size_bytes: 3,
        checksum: "c0ffee".into(),
        serialized_data: vec![1, 2, 3],
        ..MessageSnapshot::default()
    });
    let diff_type = StateDiffType::Incremental;
    event.data.state_diff =
        Some(StateDiff { before: Some(vec![1]), after: vec![2], diff_type, ..StateDiff::default() });
    event.data.error = Some("late".into());
    event.causality.parent_event_id = Some(event_id(2));
    event.causality.dependency_chain = vec![event_id(3), event_id(2)];
    event.causality.span_id = "span".into();
    comes_back(store, with_events(full, [event])).await
}

async fn every_event_type_and_status_comes_back(store: &Store) -> Outcome {
    use TraceEventType::*;
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
        DataFlow { to_actor: String::new(), to_port: String::new() },
        NetworkEvent,
    ];
    let events = (0..).zip(types).map(|(number, event_type)| TraceEvent { event_type, ..event(number) });
    comes_back(store, with_events(trace(1), events)).await?;
    let statuses = [
        ExecutionStatus::Pending,
        ExecutionStatus::Running,
        ExecutionStatus::Completed,
        ExecutionStatus::Failed { error: "out of memory".into() },
        ExecutionStatus::Failed { error: String::new() },
        ExecutionStatus::Cancelled,
    ];
    for (number, status) in (2..).zip(statuses) {
        comes_back(store, FlowTrace { status, ..trace(number) }).await?;
    }
    Ok(())
}

async fn times_come_back_to_the_nanosecond(store: &Store) -> Outcome {
    let nanos = [0, 1, -1, 1_000, 1_000_000, 1_000_000_000, 999_999_999, i64::MIN, i64::MAX];
    let times = nanos.map(DateTime::from_timestamp_nanos);
    for (number, time) in (1..).zip(&times) {
        let mut at_time = FlowTrace { start_time: *time, end_time: Some(*time), ..trace(number) };
        at_time.version.timestamp = *time;
        comes_back(store, at_time).await?;
    }
    let events = (1..).zip(&times).map(|(number, time)| TraceEvent { timestamp: *time, ..event(number) });
    comes_back(store, with_events(trace(100), events)).await
}

async fn every_byte_comes_back(store: &Store) -> Outcome {
    let every: Vec<u8> = (0..=255).collect();
    let message = |serialized_data| MessageSnapshot { serialized_data, ..MessageSnapshot::default() };
    let diff_type = StateDiffType::MemoryOnly;
    let state = |before, after| StateDiff { before, after, diff_type, ..StateDiff::default() };
    let data = [
        (None, None),
        (Some(message(Vec::new())), Some(state(None, Vec::new()))),
        (Some(message(vec![0])), Some(state(Some(Vec::new()), vec![0, 0]))),
        (Some(message(every.clone())), Some(state(Some(every.clone()), every.repeat(100)))),
    ];
    let events = (1..).zip(data).map(|(number, (message, state_diff))| {
        with_data(number, TraceEventData { message, state_diff, ..TraceEventData::default() })
    });
    comes_back(store, with_events(trace(1), events)).await
}

async fn every_text_comes_back(store: &Store) -> Outcome {
    let texts = [
        "",
        " ",
        "\0",
        "a\0b\0",
        "'",
        "\"",
        "\\",
        "'; DROP TABLE traces; --",
        "%_*?",
        "\r\n\t\u{1}",
        "null",
        "\u{feff}bom",
        "é",
        "e\u{301}",
        "ß",
        "日本語",
        "مرحبا",
        "👩‍👩‍👧",
        "\u{10ffff}",
        "\u{fffd}",
        "{\"a\":1}",
        "$1 ?1 :a @b",
    ];
    for (number, text) in (1..).zip(texts) {
        let text = text.to_owned();
        let mut worded = with_tags(trace(number), &[(&text, &text)]);
        worded.flow_id = FlowId(text.clone());
        worded.version.git_hash = Some(text.clone());
        worded.status = ExecutionStatus::Failed { error: text.clone() };
        worded.metadata.user_id = Some(text.clone());
        worded.metadata.session_id = Some(text.clone());
        worded.metadata.environment = text.clone();
        worded.metadata.hostname = text.clone();
        worded.metadata.thread_id = text.clone();
        let mut event = with_attribute(number, json!({&text: [&text, {&text: &text}]}));
        event.data.custom_attributes.insert(text.clone(), Value::Null);
        event.event_type = TraceEventType::DataFlow { to_actor: text.clone(), to_port: text.clone() };
        event.data.port = Some(text.clone());
        event.data.error = Some(text.clone());
        event.data.message = Some(MessageSnapshot {
            message_type: text.clone(),
            checksum: text.clone(),
            serialized_data: text.clone().into_bytes(),
            ..MessageSnapshot::default()
        });
        event.causality.span_id = text.clone();
        event.actor_id = text;
        comes_back(store, with_events(worded, [event])).await?;
    }
    // The longest names, of one byte a character and of several.
    for (number, name) in [(101, "n".repeat(MAX_NAME_BYTES)), (102, "日".repeat(MAX_NAME_BYTES / 3))] {
        let event = TraceEvent { actor_id: name.clone(), ..event(number) };
        comes_back(store, with_events(FlowTrace { flow_id: FlowId(name), ..trace(number) }, [event])).await?;
    }
    Ok(())
}

async fn integers_come_back_at_their_extremes(store: &Store) -> Outcome {
    let numbers = [0, 1, (1 << 53) + 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];
    let mut events: Vec<_> = (1..)
        .zip(numbers)
        .map(|(number, value)| {
            let mut event = with_attribute(number, json!([value, i64::MIN, -1]));
            event.data.message = Some(MessageSnapshot { size_bytes: value, ..MessageSnapshot::default() });
            event.data.performance_metrics = PerformanceMetrics {
                execution_time_ns: Some(value),
                memory_usage_bytes: Some(value),
                queue_depth: Some(value),
                ..PerformanceMetrics::default()
            };
            event
        })
        .collect();
    // Ids are numbers too, and the smallest and the largest are ids like any other.
    events[0].event_id.0 = uuid::Uuid::nil();
    events[1].event_id.0 = uuid::Uuid::max();
    for (number, id) in [(1, uuid::Uuid::nil()), (2, uuid::Uuid::max())] {
        let mut extreme = with_events(trace(number), events.clone());
        extreme.trace_id.0 = id;
        extreme.execution_id.0 = id;
        extreme.version.major = u32::MAX;
        extreme.version.minor = u32::MAX;
        extreme.version.patch = u32::MAX;
        extreme.metadata.process_id = u32::MAX;
        comes_back(store, extreme).await?;
    }
    Ok(())
}

async fn floats_come_back_bit_by_bit(store: &Store) -> Outcome {
    let numbers =
        [0.1, -0.0, 1.0, f64::MIN, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::EPSILON, 1e21, 123456789.12345678];
    let events: Vec<_> = (1..)
        .zip(numbers)
        .map(|(number, value)| {
            let mut event = with_attribute(number, json!(value));
            event.data.performance_metrics.throughput_msgs_per_sec = Some(value);
            #[allow(clippy::cast_possible_truncation)] // Any finite number that an f32 holds will do.
            let single = (value as f32).clamp(f32::MIN, f32::MAX);
            event.data.performance_metrics.cpu_usage_percent = Some(single);
            event
        })
        .collect();
    comes_back(store, with_events(trace(1), events.clone())).await?;
    // `==` does not distinguish -0.0 from 0.0.
    let found = store.get_events(trace_id(1)).await?;
    for ((found, given), number) in found.iter().zip(&events).zip(numbers) {
        let metrics = |event: &TraceEvent| {
            let metrics = &event.data.performance_metrics;
            (metrics.throughput_msgs_per_sec.map(f64::to_bits), metrics.cpu_usage_percent.map(f32::to_bits))
        };
        let attribute = |event: &TraceEvent| event.data.custom_attributes["value"].as_f64().map(f64::to_bits);
        same(format!("the bits of the metrics {number}"), &metrics(found), &metrics(given))?;
        same(format!("the bits of the attribute {number}"), &attribute(found), &attribute(given))?;
    }
    Ok(())
}

async fn unmeasured_metrics_are_not_zero(store: &Store) -> Outcome {
    let measured = |bits: u32| {
        let zero = PerformanceMetrics::ZERO;
        let is_measured = |bit| bits & bit != 0;
        PerformanceMetrics {
            execution_time_ns: zero.execution_time_ns.filter(|_| is_measured(1)),
            memory_usage_bytes: zero.memory_usage_bytes.filter(|_| is_measured(2)),
            cpu_usage_percent: zero.cpu_usage_percent.filter(|_| is_measured(4)),
            queue_depth: zero.queue_depth.filter(|_| is_measured(8)),
            throughput_msgs_per_sec: zero.throughput_msgs_per_sec.filter(|_| is_measured(16)),
            ..zero
        }
    };
    let events = (0..32).map(|bits| {
        with_data(bits, TraceEventData { performance_metrics: measured(bits), ..TraceEventData::default() })
    });
    comes_back(store, with_events(trace(1), events)).await
}

async fn unknown_fields_come_back(store: &Store) -> Outcome {
    let more = || -> More {
        [
            ("content_codec", json!("zstd")),
            ("stored_bytes", json!(null)),
            ("\0 ü", json!([{"deep": [-0.5, u64::MAX]}, ""])),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    };
    let mut header = trace(1);
    header.more = more();
    header.version.more = more();
    header.metadata.more = more();
    let mut event = event(1);
    event.more = more();
    event.causality.more = more();
    event.data.more = more();
    event.data.performance_metrics.more = more();
    event.data.message = Some(MessageSnapshot { more: more(), ..MessageSnapshot::default() });
    event.data.state_diff = Some(StateDiff { more: more(), ..StateDiff::default() });
    comes_back(store, with_events(header.clone(), [event])).await?;
    // A header that replaces another one replaces them too.
    header.more = More::EMPTY;
    header.metadata.more.insert("region", json!("north"));
    store.store_trace(header.clone()).await?;
    let found = store.get_trace(trace_id(1)).await?.map(|trace| FlowTrace { events: Vec::new(), ..trace });
    same("the header that replaced another one", &found, &Some(header))
}

async fn generated_traces_come_back(store: &Store) -> Outcome {
    let mut traces = Vec::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..60 {
        let tree = any_trace().new_tree(&mut runner).map_err(|reason| Failure::new(reason.message()))?;
        traces.push(tree.current());
    }
    store.store_traces(traces.clone()).await?;
    for trace in traces {
        holds(store, trace).await?;
    }
    Ok(())
}
