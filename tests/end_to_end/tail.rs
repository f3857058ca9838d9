//! `tail` follows the events of a host.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use reflow_tracing_tests::{Backend, Host, Setting, fixture};
use serde_json::Value;

use crate::wire::{Connection, is_stored};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running `tail`.
struct Tail {
    process: Child,
    lines: Receiver<String>,
    notices: Receiver<String>,
}

impl Tail {
    /// Starts it and waits until it has subscribed.
    fn start(setting: &Setting, host: &Host, arguments: &[&str]) -> Self {
        let mut command = setting.command(&[&["tail", "--server", &host.url], arguments].concat());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let lines = lines_of(process.stdout.take().expect("it is piped"));
        let notices = lines_of(process.stderr.take().expect("it is piped"));
        let tail = Self { process, lines, notices };
        tail.wait_for_notice("following");
        tail
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    /// The next event, as JSON.
    fn event(&self) -> Value {
        serde_json::from_str(&self.line()).expect("JSON")
    }

    fn wait_for_notice(&self, part: &str) -> String {
        loop {
            let notice = self.notices.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no notice with `{part}`"));
            if notice.contains(part) {
                return notice;
            }
        }
    }

    /// What is left on stdout when it has ended, and how it ended.
    fn end(mut self) -> (Vec<String>, ExitStatus) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.process.try_wait().expect("it is ours") {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "it does not end"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        (self.lines.iter().collect(), status)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            if sender.send(line.expect("UTF-8")).is_err() {
                return;
            }
        }
    });
    receiver
}

fn start() -> (Setting, Host) {
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    (setting, host)
}

const SESSIONS: [&str; 2] = ["reflow-session.jsonl", "reflow-session-2.jsonl"];

/// Sends the recordings of both protocols.
fn replay(setting: &Setting, host: &Host) {
    for session in SESSIONS {
        setting.stdout(&["replay", fixture(session).to_str().expect("a path of ours"), "--url", &host.url]);
    }
}

/// The events of the recordings, by their ids.
fn sent() -> Vec<Value> {
    let text = SESSIONS.map(|session| std::fs::read_to_string(fixture(session)).expect("the recording is there"));
    let frames =
        text.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    by_id(frames.filter_map(|line| line["frame"]["RecordEvent"].get("event").cloned()).collect())
}

fn by_id(mut events: Vec<Value>) -> Vec<Value> {
    events.sort_by_key(|event| event["event_id"].as_str().map(str::to_owned));
    events
}

async fn record(host: &Host, actor: &str) {
    Connection::open(&host.url).await.start_and_record(actor).await;
}

#[test]
fn events_of_both_protocols_are_shown_whole_and_as_lines() {
    let (setting, host) = start();
    let count = sent().len().to_string();
    let json = Tail::start(&setting, &host, &["--format", "json", "--count", &count]);
    let table = Tail::start(&setting, &host, &["--count", &count]);
    replay(&setting, &host);

    let (lines, status) = json.end();
    assert!(status.success());
    let shown: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let stored: Vec<Value> = serde_json::from_str(&setting.stdout(&["query", "--format", "json"])).expect("traces");
    for notification in &shown {
        let trace = stored.iter().find(|trace| trace["trace_id"] == notification["trace_id"]).expect("a stored trace");
        assert!(trace["events"].as_array().expect("events").contains(&notification["event"]));
    }
    assert_eq!(by_id(shown.into_iter().map(|mut notification| notification["event"].take()).collect()), sent());

    let (lines, status) = table.end();
    assert!(status.success());
    assert_eq!(lines.len(), sent().len());
    let failed = lines.iter().find(|line| line.contains("ActorFailed")).expect("the event that failed");
    let id = stored.iter().find(|trace| trace["flow_id"] == "refunds").expect("stored")["trace_id"].as_str();
    for part in [&id.expect("an id")[..8], " refunds ", " refund ", "error: no such order", "2026-11-27T23:40:56.639Z"]
    {
        assert!(failed.contains(part), "no {part:?} in {failed}");
    }
    assert!(lines.iter().any(|line| line.contains("network_session_1795371274") && line.contains("message_processor")));
}

#[test]
fn only_events_that_meet_all_conditions_are_shown() {
    let (setting, host) = start();
    let shown = |tail: Tail, count: usize| -> Vec<Value> {
        let events = (0..count).map(|_| tail.event()["event"].take()).collect();
        std::thread::sleep(Duration::from_millis(300));
        assert!(tail.lines.try_recv().is_err(), "one more than {count}");
        events
    };
    let tail = |arguments: &[&str]| Tail::start(&setting, &host, &[&["--format", "json"], arguments].concat());
    let (errors, flow) = (tail(&["--errors"]), tail(&["--flow", "orders", "--actor", "reader", "--actor", "writer"]));
    let (kind, status) = (tail(&["--type", "DataFlow", "--flow", "orders"]), tail(&["--status", "failed"]));
    let trace = tail(&["--trace", "ffffffffffff"]);
    replay(&setting, &host);
    let is_failed = |event: &Value| event["event_type"] == "ActorFailed";
    assert!(shown(errors, 1).iter().all(is_failed));
    assert!(shown(status, 1).iter().all(is_failed));
    let of_sent = |wanted: &dyn Fn(&Value) -> bool| by_id(sent().into_iter().filter(wanted).collect());
    let of_actors = of_sent(&|event| event["actor_id"] == "reader" || event["actor_id"] == "writer");
    assert_eq!(by_id(shown(flow, of_actors.len())), of_actors);
    let of_kind =
        of_sent(&|event| event["event_type"].get("DataFlow").is_some() && event["actor_id"] != "data_generator");
    assert_eq!(by_id(shown(kind, of_kind.len())), of_kind);
    shown(trace, 0);
}

/// The same setting with the port that its host has.
fn keep_port(setting: &Setting, host: &Host) {
    let port = host.url.rsplit(':').next().expect("a port");
    setting.write(&format!("[server]\nport = {port}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_killed_is_followed_again_when_it_is_back() {
    let (setting, host) = start();
    let tail = Tail::start(&setting, &host, &["--format", "json"]);
    record(&host, "before").await;
    assert_eq!(tail.event()["event"]["actor_id"], "before");
    keep_port(&setting, &host);
    host.kill();
    tail.wait_for_notice("waiting until it is back");
    let host = Host::start(&setting);
    let back = tail.wait_for_notice("again; events of the ");
    assert!(back.contains("were missed") && back.contains(&host.url), "{back}");
    record(&host, "after").await;
    assert_eq!(tail.event()["event"]["actor_id"], "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reconnecting_the_end_of_the_host_is_an_error() {
    let (setting, host) = start();
    let tail = Tail::start(&setting, &host, &["--no-reconnect"]);
    record(&host, "before").await;
    assert!(tail.line().contains("before"));
    host.stop();
    let error = tail.wait_for_notice("error: ");
    assert!(error.contains("the server stops"), "{error}");
    assert_eq!(tail.end().1.code(), Some(1));
}

#[test]
fn an_interrupt_ends_it_without_an_error() {
    let (setting, host) = start();
    let tail = Tail::start(&setting, &host, &[]);
    let pid = tail.process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill is there").success());
    assert!(tail.end().1.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_although_nobody_reads() {
    let (setting, host) = start();
    let mut command = setting.command(&["tail", "--format", "json", "--server", &host.url]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let notices = lines_of(process.stderr.take().expect("it is piped"));
    notices.recv_timeout(PATIENCE).expect("it follows");
    let mut connection = Connection::open(&host.url).await;
    let trace_id = connection.start_trace("orders").await;
    // More than a pipe holds.
    for _ in 0..4 {
        assert!(is_stored(&connection.record(&trace_id, "a", Value::from("x".repeat(1 << 20))).await));
    }
    std::thread::sleep(Duration::from_millis(500));
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill is there").success());
    let tail = Tail { lines: channel().1, notices, process };
    assert!(tail.end().1.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_ends_it_without_an_error() {
    let (setting, host) = start();
    let mut command = setting.command(&["tail", "--server", &host.url]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let notices = lines_of(process.stderr.take().expect("it is piped"));
    notices.recv_timeout(PATIENCE).expect("it follows");
    drop(process.stdout.take());
    // The first may be written before the second waits; the second finds the pipe closed at the latest.
    record(&host, "first").await;
    record(&host, "second").await;
    let tail = Tail { lines: channel().1, notices, process };
    assert!(tail.end().1.success());
}
