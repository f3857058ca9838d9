//! `query`, `get` and `export` ask a running host.

use reflow_tracing_tests::{Backend, Host, Setting, fixture};
use serde_json::Value;

use crate::wire::{Connection, is_stored};

const MEMORY: &str = "[server]\nport = 0\n\n[storage]\nbackend = \"memory\"\n";

fn memory_host() -> (Setting, Host) {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(MEMORY);
    let host = Host::start(&setting);
    (setting, host)
}

/// Sends the recordings of both protocols.
fn replay(setting: &Setting, host: &Host) {
    for session in ["reflow-session.jsonl", "reflow-session-2.jsonl"] {
        let file = fixture(session);
        let report = setting.stdout(&["replay", file.to_str().expect("a path of ours"), "--server", &host.url]);
        assert!(report.contains("failed        0"), "{report}");
    }
}

#[test]
fn the_traces_of_a_memory_host_are_found_shown_and_exported() {
    let (setting, host) = memory_host();
    replay(&setting, &host);
    let json = setting.stdout(&["query", "--format", "json", "--server", &host.url]);
    let traces: Vec<Value> = serde_json::from_str(&json).expect("traces");
    let mut counts: Vec<_> = traces.iter().map(|trace| trace["events"].as_array().expect("events").len()).collect();
    counts.sort();
    assert_eq!(counts, [2, 16, 23]);
    for trace in &traces {
        let id = trace["trace_id"].as_str().expect("an id");
        let shown = setting.stdout(&["get", id, "--format", "json", "--server", &host.url]);
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("a trace"), *trace);
    }

    let exported = setting.stdout(&["export", "all.jsonl.zst", "--server", &host.url]);
    assert!(exported.contains("traces      3\nevents      41\n"), "{exported}");
    setting.stdout(&["import", "all.jsonl.zst", "--store", "sqlite:imported.db", "--verify"]);
    let imported = setting.stdout(&["query", "--format", "json", "--store", "sqlite:imported.db"]);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&imported).expect("traces"), traces);
}

#[test]
fn a_host_is_asked_with_the_same_output_as_its_store() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    replay(&setting, &host);
    let id = setting.stdout(&["query", "--format", "json"]);
    let id = serde_json::from_str::<Value>(&id).expect("traces")[0]["trace_id"].as_str().expect("an id").to_owned();
    for arguments in [
        &["query"][..],
        &["query", "--format", "ndjson"],
        &["query", "--limit", "1"],
        &["query", "--limit", "1", "--offset", "1", "--oldest-first", "--format", "ndjson"],
        &["query", "--offset", "3"],
        &["query", "--limit", "0"],
        &["query", "--flow", "orders"],
        &["query", "--errors"],
        &["query", "--status", "failed"],
        &["query", "--actor", "pric", "--event-type", "DataFlow", "--min-duration", "1ms", "--max-duration", "1h"],
        &["query", "--since", "2026-11-22T18:00:00Z", "--until", "2026-11-23T00:00:00Z"],
        &["query", "--tag", "a=b"],
        &["get", &id],
        &["get", &id, "--format", "json"],
    ] {
        let asked = [arguments, &["--server", &host.url]].concat();
        let (of_store, of_host) = (setting.run(arguments), setting.run(&asked));
        assert!(of_store.status.success(), "{of_store:?}");
        assert_eq!(of_host, of_store, "{arguments:?}");
    }
    // The file is the same but for the time in its first line, whose checksum the last line does not have.
    let export = |arguments: &[&str]| {
        let text = setting.stdout(&[&["export", "-"], arguments].concat());
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(export(&["--server", &host.url]), export(&[]));
    assert_eq!(export(&["--flow", "orders", "--server", &host.url]), export(&["--flow", "orders"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_traces_are_read_in_pages_and_exported() {
    let (setting, host) = memory_host();
    reads_and_exports_many_traces(&setting, &host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_traces_of_a_plugin_are_read_in_pages_and_exported() {
    let setting = Setting::new(Backend::Relational);
    let host = Host::start(&setting);
    reads_and_exports_many_traces(&setting, &host).await;
}

async fn reads_and_exports_many_traces(setting: &Setting, host: &Host) {
    let mut connection = Connection::open(&host.url).await;
    for number in 0..120 {
        let trace_id = connection.start_trace(&format!("flow {number}")).await;
        assert!(is_stored(&connection.record(&trace_id, "actor", Value::from("x".repeat(10_000))).await));
    }
    let query =
        |arguments: &[&str]| setting.run(&[&["query", "--server", &host.url, "--format", "json"], arguments].concat());
    let parse = |json: &[u8]| serde_json::from_slice::<Vec<Value>>(json).expect("traces");
    let all = parse(&query(&["--limit", "10000"]).stdout);
    assert_eq!(all.len(), 120);
    let first = query(&[]);
    let mut paged = parse(&first.stdout);
    assert_eq!(paged.len(), 100, "the default");
    let hint = String::from_utf8(first.stderr).expect("UTF-8");
    let token = hint.split("--page-token ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a token");
    paged.extend(parse(&query(&["--page-token", token]).stdout));
    assert_eq!(paged, all);
    let exported = setting.stdout(&["export", "all.jsonl", "--server", &host.url]);
    assert!(exported.contains("traces      120\nevents      120\n"), "{exported}");
}

#[test]
fn a_mistake_is_named_with_the_remedy() {
    let (setting, host) = memory_host();
    let unknown = "00000000-0000-0000-0000-000000000000";
    let page = host.url.clone() + "/health";
    for (arguments, parts) in [
        // The configured store is in the memory of another process.
        (&["query"][..], &["memory", "--server ws://"][..]),
        (&["get", unknown, "--server", &host.url], &[unknown, "`reflow-tracing query`"]),
        (&["query", "--server", "ws://127.0.0.1:1"], &["ws://127.0.0.1:1", "refused", "`reflow-tracing serve`"]),
        (&["export", "x", "--server", "http://127.0.0.1:8080"], &["ws:// instead of http://", "ws://127.0.0.1:8080"]),
        (&["query", "--server", &host.url.replace("ws", "wss")], &["can't connect", &host.url]),
        (&["query", "--server", &page], &["/health is not a Reflow tracing host", "200", "is the port right?"]),
        (&["query", "--server", &host.url, "--store", "sqlite:x.db"], &["--server", "cannot be used with", "--store"]),
        (&["query", "--server", &host.url, "--config", "reflow_tracing.toml"], &["--server", "--config"]),
        (&["query", "--server", &host.url, "--limit", "10001"], &["10001", "10000"]),
        (&["query", "--server", &host.url, "--page-token", "x"], &["answered with an error", "page_token \"x\""]),
        (&["tail", "--server", "ws://127.0.0.1:1"], &["ws://127.0.0.1:1", "refused", "`reflow-tracing serve`"]),
    ] {
        let message = setting.failure(arguments);
        for part in parts {
            assert!(message.contains(part), "{arguments:?}: no `{part}` in: {message}");
        }
    }
}
