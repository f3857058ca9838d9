//! The program as a user runs it: its output, its errors, its exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SESSION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/reflow-session.jsonl");

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reflow-tracing"));
    command.current_dir(folder).args(arguments).env("RUST_LOG", "warn");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().unwrap()
}

#[track_caller]
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The error of the program, which must exit with code 1.
#[track_caller]
fn failure(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A folder whose configuration uses any free port and a SQLite file.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("reflow_tracing.toml"), "[server]\nport = 0\n").unwrap();
    folder
}

pub(crate) struct Host {
    pub(crate) process: Child,
    pub(crate) url: String,
}

impl Host {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut process = program(folder, &["serve"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).trim_end().to_owned();
        Self { process, url }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_session_that_is_replayed_can_be_queried_and_got() {
    let folder = folder();
    let folder = folder.path();
    let mut host = Host::start(folder);
    let summary = stdout(run(folder, &["replay", SESSION, "--url", &host.url]));
    assert!(summary.contains("acknowledged  17\n"), "{summary}");
    let trace_id = summary.lines().last().unwrap().trim();

    // The host is killed; every acknowledged event is stored.
    host.process.kill().unwrap();
    let traces: serde_json::Value = serde_json::from_str(&stdout(run(folder, &["query", "--format", "json"]))).unwrap();
    assert_eq!(traces.as_array().unwrap().len(), 1);
    assert_eq!(traces[0]["trace_id"], trace_id);
    assert_eq!(traces[0]["status"], "Completed");
    assert_eq!(traces[0]["events"].as_array().unwrap().len(), 16);

    let lines = stdout(run(folder, &["query", "--format", "ndjson", "--actor", "data_gen"]));
    assert_eq!(lines.lines().count(), 1);
    let table = stdout(run(folder, &["query", "--errors"]));
    assert_eq!(table, "0 traces\n");
    let table = stdout(run(folder, &["get", trace_id]));
    assert!(table.contains("network_session_1795371274") && table.contains("to message_processor.In"), "{table}");
}

#[test]
fn an_invalid_line_of_a_recording_is_named_and_nothing_is_sent() {
    let folder = folder();
    let folder = folder.path();
    let host = Host::start(folder);
    let mut replay = program(folder, &["replay", "-", "--url", &host.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let session = std::fs::read_to_string(SESSION).unwrap();
    replay.stdin.take().unwrap().write_all(format!("{session}oops\n").as_bytes()).unwrap();
    let message = failure(replay.wait_with_output().unwrap());
    assert!(message.contains("line 18"), "{message}");
    assert_eq!(stdout(run(folder, &["query"])), "0 traces\n");
}

#[test]
fn a_frame_that_the_host_refuses_fails_the_replay() {
    let folder = folder();
    let folder = folder.path();
    let host = Host::start(folder);
    let frame = serde_json::json!({"QueryTraces": {"query": {"limit": 1_000_000}}});
    let recording = folder.join("recording.jsonl");
    std::fs::write(&recording, serde_json::json!({"connection": "a", "frame": frame}).to_string()).unwrap();
    let output = run(folder, &["replay", recording.to_str().unwrap(), "--url", &host.url]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("line 1: invalid argument"), "{output:?}");
    assert!(failure(output).contains("1 of 1 frames failed"));
}

#[test]
fn an_unreachable_host_is_named_with_the_remedy() {
    let folder = folder();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{free}");
    let message = failure(run(folder.path(), &["replay", SESSION, "--url", &url]));
    assert!(message.contains(&url) && message.contains("reflow-tracing serve"), "{message}");
}

#[test]
fn a_port_that_is_in_use_is_named_with_the_setting() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = program(folder.path(), &["serve"]).env("REFLOW_TRACING_PORT", &port).output().unwrap();
    let message = failure(output);
    assert!(message.contains(&format!("127.0.0.1:{port}")) && message.contains("`port`"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_host_shuts_down_cleanly_on_a_signal() {
    let folder = folder();
    let mut host = Host::start(folder.path());
    let asked = Command::new("kill").arg(host.process.id().to_string()).status().unwrap();
    assert!(asked.success());
    assert!(host.process.wait().unwrap().success());
    let mut rest = String::new();
    host.process.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "it prints only one line");
}

#[test]
fn a_reader_that_closes_the_pipe_early_is_not_an_error() {
    let folder = folder();
    let folder = folder.path();
    let host = Host::start(folder);
    stdout(run(folder, &["replay", SESSION, "--url", &host.url]));
    let mut query =
        program(folder, &["query", "--format", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(query.stdout.take());
    let output = query.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn retain_deletes_traces_over_the_limits() {
    let folder = folder();
    let folder = folder.path();
    let host = Host::start(folder);
    for _ in 0..3 {
        stdout(run(folder, &["replay", SESSION, "--url", &host.url]));
    }
    drop(host);
    let retain = |arguments: &[&str]| stdout(run(folder, &[&["retain"], arguments].concat()));
    // The session was recorded in 2026, less than a century ago.
    assert!(retain(&["--older-than", "5200w"]).starts_with("deleted 0 traces"));
    let planned = retain(&["--max-traces", "1", "--dry-run"]);
    assert_eq!(planned, "would delete 2 traces: 0 for age, 2 for number, 0 for size\n");
    assert!(stdout(run(folder, &["query"])).contains("3 traces"));
    assert!(retain(&["--max-traces", "1"]).starts_with("deleted 2 traces"));
    assert!(stdout(run(folder, &["query"])).contains("1 trace"));

    let message = failure(run(folder, &["retain"]));
    assert!(message.contains("--older-than") && message.contains("[storage.retention]"), "{message}");
    std::fs::write(folder.join("reflow_tracing.toml"), "[storage.retention]\nmax_traces = 0\n").unwrap();
    assert!(retain(&[]).starts_with("deleted 1 trace:"));
    assert_eq!(run(folder, &["retain", "--older-than", "30"]).status.code(), Some(2));
}

#[test]
fn a_host_enforces_the_configured_retention() {
    let folder = folder();
    let folder = folder.path();
    let text = "[server]\nport = 0\n[storage.retention]\nmax_traces = 2\ninterval = \"50ms\"\n";
    std::fs::write(folder.join("reflow_tracing.toml"), text).unwrap();
    let host = Host::start(folder);
    for _ in 0..4 {
        stdout(run(folder, &["replay", SESSION, "--url", &host.url]));
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !stdout(run(folder, &["query"])).contains("2 traces") {
        assert!(Instant::now() < deadline, "{}", stdout(run(folder, &["query"])));
    }
}

#[test]
fn a_policy_that_the_backend_cannot_enforce_is_refused_at_the_start() {
    let folder = folder();
    let folder = folder.path();
    let text = "[storage]\nbackend = \"postgres\"\n[storage.retention]\nmax_size_mb = 10\n";
    std::fs::write(folder.join("reflow_tracing.toml"), text).unwrap();
    let message = failure(run(folder, &["retain"]));
    assert!(message.contains("`max_size_mb`") && message.contains("enable_partitioning"), "{message}");
    let text = "[server]\nport = 0\n[storage]\nspool = \"spool\"\n";
    std::fs::write(folder.join("reflow_tracing.toml"), text).unwrap();
    assert!(failure(run(folder, &["serve"])).contains("`spool` in `[storage]`"));
}

#[test]
fn a_missing_trace_is_an_error() {
    let folder = folder();
    let _host = Host::start(folder.path());
    let trace_id = "00000000-0000-4000-8000-000000000000";
    assert!(failure(run(folder.path(), &["get", trace_id])).contains(trace_id));
}

#[test]
fn memory_cannot_be_queried_by_another_process() {
    let folder = folder();
    let output = program(folder.path(), &["query"]).env("REFLOW_TRACING_STORAGE_BACKEND", "memory").output().unwrap();
    assert!(failure(output).contains("host process only"));
}

#[test]
fn an_invalid_argument_is_a_usage_error() {
    assert_eq!(run(folder().path(), &["query", "--status", "done"]).status.code(), Some(2));
}
