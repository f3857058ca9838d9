//! Text of traces does not control the terminal.

use reflow_tracing_tests::{Backend, Host, Setting};
use serde_json::Value;

use crate::wire::{Connection, is_stored};

/// Clears a screen with C0 and with C1 characters, turns the direction of text, and breaks lines.
const ACTIVE: &str = "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{2067}\u{200f}\u{2028}\r\n\t";

fn assert_is_inactive(text: &str) {
    let is_active = |c: char| (c.is_control() && c != '\n') || ACTIVE.contains(c) && c != '\n' && !"[2J".contains(c);
    assert!(!text.contains(is_active), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_lines_and_errors_escape_what_controls_a_terminal() {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let (flow, actor) = (format!("flow{ACTIVE}"), format!("actor{ACTIVE}"));
    let mut tail = setting.command(&["tail", "--count", "1", "--server", &host.url]);
    let mut tail =
        tail.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut notices = std::io::BufReader::new(tail.stderr.take().expect("it is piped"));
    std::io::BufRead::read_line(&mut notices, &mut String::new()).expect("it follows");

    let mut connection = Connection::open(&host.url).await;
    let trace_id = connection.start_trace(&flow).await;
    assert!(is_stored(&connection.record(&trace_id, &actor, Value::Null).await));
    let id = trace_id.to_string();
    let other = Connection::open(&host.url).await.start_and_record("plain").await.to_string();
    let plain = setting.stdout(&["get", &other]);
    let line = String::from_utf8(tail.wait_with_output().expect("it ends").stdout).expect("UTF-8");
    for (what, text, lines) in [
        ("tail", line, 1),
        ("query", setting.stdout(&["query"]), 5),
        ("query --server", setting.stdout(&["query", "--server", &host.url]), 5),
        ("get", setting.stdout(&["get", &id]), plain.lines().count()),
    ] {
        assert_is_inactive(&text);
        assert!(
            text.contains("flow\\u{1b}[2J\\u{9b}2J\\u{7f}\\u{202e}\\u{2067}\\u{200f}\\u{2028}\\r\\n\\t"),
            "{what}: {text}"
        );
        assert_eq!(text.lines().count(), lines, "{what}: {text}");
    }
    // Programs get what was sent.
    let trace: Value = serde_json::from_str(&setting.stdout(&["get", &id, "--format", "json"])).expect("a trace");
    assert_eq!((&trace["flow_id"], &trace["events"][0]["actor_id"]), (&Value::from(flow), &Value::from(actor)));
    let error = setting.failure(&["query", "--server", &host.url, "--page-token", "\u{9b}2J\u{202e}"]);
    assert_is_inactive(&error);
}
