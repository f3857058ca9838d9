//! `get` with `--actors`, `--graph`, `--spans` and `--stats`: what actors did, from a store and from a running host.

use reflow_tracing_tests::{Backend, Host, Setting, fixture};
use serde_json::Value;

const ORDERS: &str = "3e1a48f9-a331-4736-870c-e63de96fe9e0";
const REFUND: &str = "74c81f35-52cd-4126-b18f-9f4308a04ef9";

#[test]
fn activations_of_a_recorded_session_are_shown_from_its_store_and_from_its_host() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let session = fixture("reflow-session-2.jsonl");
    setting.stdout(&["replay", session.to_str().expect("a path of ours"), "--url", &host.url]);

    let edges = setting.stdout(&["get", ORDERS, "--graph"]);
    let lines: Vec<_> = edges.lines().collect();
    assert_eq!(lines.len(), 3, "{edges}");
    assert!(lines[1].starts_with("pricing.priced  writer.in   5         325"), "{edges}");
    assert!(lines[2].contains("reader.out") && lines[2].contains("21.347 ms"), "{edges}");
    assert_eq!(setting.stdout(&["get", ORDERS, "--graph", "--server", &host.url]), edges);

    let actors = setting.stdout(&["get", ORDERS, "--actors", "--format", "json"]);
    let actors: Value = serde_json::from_str(&actors).expect("JSON");
    let names: Vec<_> = actors.as_array().expect("a list").iter().map(|actor| &actor["actor"]).collect();
    assert_eq!(names, ["reader", "pricing", "writer"]);
    assert_eq!(actors[1]["execution"]["p50_ns"], 1_270_000);
    assert_eq!(actors[0]["latency"], Value::Null, "a source has none");

    let spans = setting.stdout(&["get", ORDERS, "--spans", "--format", "ndjson"]);
    assert_eq!(spans.lines().count(), 10);
    let stats = setting.stdout(&["get", REFUND, "--stats"]);
    assert!(stats.contains("1 (0 open, 1 failed)") && stats.contains("no such order"), "{stats}");
    let stats = setting.stdout(&["get", ORDERS, "--stats", "--format", "json"]);
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    let path = stats["critical_path"].as_array().expect("a list");
    assert_eq!(path.iter().map(|one| &one["actor"]).collect::<Vec<_>>(), ["pricing", "writer"]);
    host.stop();

    let two = setting.failure(&["get", ORDERS, "--spans", "--stats"]);
    assert!(two.contains("cannot be used with"), "{two}");
    let missing = setting.failure(&["get", "00000000-0000-4000-8000-000000000000", "--spans"]);
    assert!(missing.contains("is not in the store"), "{missing}");
}
