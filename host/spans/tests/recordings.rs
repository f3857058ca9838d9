//! Recorded sessions of Reflow's clients, whose reports were checked by hand once. `UPDATE_GOLDEN=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use reflow_tracing_model::TraceEvent;
use reflow_tracing_spans::{Report, Spans};
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The report on the events of a recording whose flow is `flow`, or on all of them.
fn report(recording: &str, trace: Option<&str>) -> Report {
    let text = fs::read_to_string(repository().join("tests/fixtures").join(recording)).expect("the recording is there");
    let mut spans = Spans::default();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of a recording is JSON");
        let record = &line["frame"]["RecordEvent"];
        if record.is_null() || trace.is_some_and(|trace| record["trace_id"] != trace) {
            continue;
        }
        let event: TraceEvent = serde_json::from_value(record["event"].clone()).expect("an event");
        spans.add(&event);
    }
    spans.report()
}

fn assert_golden(report: &Report, name: &str) {
    let path = repository().join("host/spans/tests/golden").join(name);
    let found = serde_json::to_string_pretty(report).expect("a report is JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).expect("the golden file can be written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{} differs; UPDATE_GOLDEN=1 writes it anew", path.display());
}

#[test]
fn a_generator_and_a_processor() {
    assert_golden(&report("reflow-session.jsonl", None), "generator.json");
}

#[test]
fn orders_are_priced_and_written() {
    let orders = report("reflow-session-2.jsonl", Some("3e1a48f9-a331-4736-870c-e63de96fe9e0"));
    assert_golden(&orders, "orders.json");
}

#[test]
fn a_refund_fails() {
    let refunds = report("reflow-session-2.jsonl", Some("74c81f35-52cd-4126-b18f-9f4308a04ef9"));
    assert_golden(&refunds, "refunds.json");
}
