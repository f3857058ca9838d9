//! Files of the newer Reflow.

use super::*;

/// A trace as JSON of the newer Reflow: metrics that were not measured are `null`, and there are fields that the model does not
/// name.
fn newer_json(trace: &FlowTrace) -> serde_json::Value {
    let mut json = serde_json::to_value(trace).unwrap();
    for event in json["events"].as_array_mut().unwrap() {
        let data = &mut event["data"];
        data["performance_metrics"] = serde_json::json!({
            "execution_time_ns": null, "memory_usage_bytes": null, "cpu_usage_percent": null, "queue_depth": 0,
        });
        let message = data["message"].as_object_mut().unwrap();
        message.insert("content_codec".into(), "zstd".into());
        message.insert("content_format_version".into(), 1.into());
        message.insert("stored_bytes".into(), serde_json::Value::Null);
        message.insert("checksum".into(), format!("sha256:{}", "0".repeat(64)).into());
        event["recorded_by"] = serde_json::json!({ "process": 7 });
    }
    json["parent_trace"] = serde_json::json!(["a", 18_446_744_073_709_551_615_u64]);
    json["metadata"]["region"] = "north".into();
    json
}

#[tokio::test]
async fn traces_of_the_newer_reflow_are_migrated_with_all_that_they_say() {
    let server = Server::new(WHOLE);
    let mut expected = Vec::new();
    // As text, and compressed.
    for number in 0..2 {
        let written = trace(number * 5_000, number as usize * 3 + 1);
        let json = newer_json(&written);
        let text = json.to_string();
        let data = match number {
            0 => Value::Text(text),
            _ => zstd::bulk::compress(text.as_bytes(), 3).unwrap().into(),
        };
        let others = [("data", data), ("compressed", number.into()), ("size_bytes", 1.into())];
        server.store_row(&written, &others);
        let read: FlowTrace = serde_json::from_value(json).unwrap();
        let metrics = &read.events[0].data.performance_metrics;
        assert_eq!(
            (metrics.execution_time_ns, metrics.queue_depth, metrics.throughput_msgs_per_sec),
            (None, Some(0), None)
        );
        assert_eq!(read.events[0].data.message.as_ref().unwrap().more.get("content_codec"), Some(&"zstd".into()));
        expected.push(read);
    }
    let (storage, left_out) = server.migrated().await;
    assert_eq!(left_out, [""; 0]);
    assert_holds(&storage, &expected).await;
}

#[tokio::test]
async fn a_number_that_would_be_changed_is_reported_with_its_path() {
    let server = Server::new(WHOLE);
    let written = trace(0, 1);
    let json = newer_json(&written).to_string().replace("\"process\":7", "\"process\":1e-400");
    server.store_row(&written, &[("data", json.into()), ("compressed", 0.into()), ("size_bytes", 1.into())]);
    let (_, left_out) = server.migrated().await;
    assert!(left_out[0].contains("data: `events[0].recorded_by.process` is 1e-400"), "{left_out:?}");
}

#[tokio::test]
async fn separate_events_may_be_compressed_and_lack_metrics() {
    let server = Server::new(WHOLE);
    let whole = trace(0, 1);
    let json = newer_json(&trace(9_000, 1));
    server.store_whole(&whole);
    let event = &json["events"][0];
    server
        .connection
        .execute(
            "INSERT INTO trace_events (trace_id, event_id, timestamp, event_type, actor_id, data, causality, compressed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, TRUE)",
            params![
                whole.trace_id.to_string(),
                event["event_id"].as_str(),
                1_700_000_009,
                event["event_type"].to_string(),
                event["actor_id"].as_str(),
                zstd::bulk::compress(event["data"].to_string().as_bytes(), 3).unwrap(),
                event["causality"].to_string(),
            ],
        )
        .unwrap();
    let (storage, left_out) = server.migrated().await;
    assert_eq!(left_out, [""; 0]);
    let events = storage.get_events(whole.trace_id).await.unwrap();
    assert_eq!((events.len(), events[1].data.performance_metrics.execution_time_ns), (2, None));
    assert_eq!(events[1].data.message.as_ref().unwrap().more.get("content_format_version"), Some(&1.into()));
}
