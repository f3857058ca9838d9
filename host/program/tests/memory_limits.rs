//! What strangers send, or do not read, does not take more memory of a host than its configuration allows.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command_line::{Host, folder};
use crate::untrusted_peers::{connect, get, peak_memory, upgrade};

const MIB: u64 = 1 << 20;

/// The memory of a host beside what `max_buffered_mb` bounds: the program, its threads, and what they work on at the moment.
const BESIDE: u64 = 150 * MIB;

/// The least that can be configured, in MiB.
const BUFFERED: u64 = 128;

fn host(folder: &tempfile::TempDir) -> Host {
    let text = format!(
        "[server]\nport = 0\nmax_buffered_mb = {BUFFERED}\n[storage]\nbackend = \"memory\"\n[storage.memory]\nmax_memory_mb = 32\n"
    );
    std::fs::write(folder.path().join("reflow_tracing.toml"), text).unwrap();
    Host::start(folder.path())
}

fn websocket(host: &Host) -> TcpStream {
    let (stream, answer) = upgrade(host, "Host: localhost\r\n");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream
}

/// A frame of a text message, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0xff];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// The next message, as text, or the reason of a close.
fn receive(stream: &mut TcpStream) -> String {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u16::from_be_bytes(length).into()
        }
        127 => panic!("a long answer"),
        length => usize::from(length),
    };
    let mut message = vec![0; length];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8_lossy(&message).into_owned()
}

fn event(attribute: &Value) -> String {
    let mut event = reflow_tracing::TraceEvent { actor_id: "a".into(), ..Default::default() };
    event.data.custom_attributes.insert("attribute".into(), attribute.clone());
    // Of one trace: a connection with many open traces is not a small one, which has room when others have none.
    json!({"RecordEvent": {"trace_id": "3e1a48f9-a331-4736-870c-e63de96fe9e0", "event": event}}).to_string()
}

fn metric(host: &Host, name: &str) -> u64 {
    let metrics = get(host, "/metrics", "Host: localhost\r\n");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("reflow_tracing_{name} ")));
    line.unwrap_or_else(|| panic!("{name} is missing in {metrics}")).parse().unwrap()
}

#[test]
fn messages_that_never_end_take_no_more_than_the_budget_and_others_go_on() {
    let folder = folder();
    let host = host(&folder);
    let mut message = frame(&" ".repeat(15 << 20));
    message.pop();
    let mut attackers: Vec<_> = (0..30).map(|_| websocket(&host)).collect();
    for attacker in &attackers {
        attacker.set_nonblocking(true).unwrap();
    }
    let mut honest = websocket(&host);
    let (mut sent, mut slowest) = (vec![0; attackers.len()], Duration::ZERO);
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        for (attacker, sent) in attackers.iter_mut().zip(&mut sent) {
            while let rest @ [_, ..] = &message[*sent..] {
                match attacker.write(&rest[..rest.len().min(1 << 18)]) {
                    Ok(length) => *sent += length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // It was ended.
                    Err(_) => *sent = message.len(),
                }
            }
        }
        let asked = Instant::now();
        honest.write_all(&frame(&event(&json!("small")))).unwrap();
        let answer = receive(&mut honest);
        assert!(answer.contains("true"), "{answer}");
        slowest = slowest.max(asked.elapsed());
    }
    let peak = peak_memory(&host);
    assert!(peak < BUFFERED * MIB + BESIDE, "{} MiB", peak / MIB);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(metric(&host, "buffer_waits_total") > 0);
    assert!(metric(&host, "ended_connections_total") > 0);
    let reasons = attackers.iter_mut().filter_map(|attacker| {
        let mut close = Vec::new();
        let _ = attacker.read_to_end(&mut close);
        (!close.is_empty()).then(|| String::from_utf8_lossy(&close).into_owned())
    });
    let reasons: Vec<_> = reasons.collect();
    assert!(reasons.iter().any(|reason| reason.contains("max_buffered_mb")), "{reasons:?}");
}

#[test]
fn a_message_that_expands_in_memory_is_refused() {
    let folder = folder();
    let host = host(&folder);
    let mut sender = websocket(&host);
    // 7 MiB, which would take a hundred times as much.
    let values = format!("[{}]", vec![r#"{"":0}"#; 1 << 20].join(","));
    let bomb = event(&json!("here")).replace("\"here\"", &values);
    sender.write_all(&frame(&bomb)).unwrap();
    let answer = receive(&mut sender);
    assert!(answer.contains("InvalidRequest") && answer.contains("MiB of memory"), "{answer}");
    sender.write_all(&frame(&event(&json!("small")))).unwrap();
    assert!(receive(&mut sender).contains("true"));
    let peak = peak_memory(&host);
    assert!(peak < BESIDE, "{} MiB", peak / MIB);
}

#[test]
fn idle_connections_take_little_memory() {
    let folder = folder();
    let host = host(&folder);
    let before = peak_memory(&host);
    let idle: Vec<_> = (0..500).map(|_| websocket(&host)).collect();
    let each = (peak_memory(&host) - before) / idle.len() as u64;
    assert!(each < 60 << 10, "{each} bytes each");
}

#[test]
fn idle_connections_keep_no_buffers_of_large_messages() {
    let folder = folder();
    let host = host(&folder);
    let message = frame(&" ".repeat(8 << 20));
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = websocket(&host);
            stream.write_all(&message).unwrap();
            assert!(receive(&mut stream).contains("InvalidRequest"));
            stream
        })
        .collect();
    let peak = peak_memory(&host);
    assert!(peak < 120 * MIB, "{} MiB with {} connections", peak / MIB, idle.len());
}

#[test]
fn the_head_of_a_request_is_bounded() {
    let folder = folder();
    let host = host(&folder);
    let refused = get(&host, "/health", &format!("Host: localhost\r\nX-Long: {}\r\n", "x".repeat(20_000)));
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_a_shutdown() {
    let folder = folder();
    let mut host = host(&folder);
    let mut half = connect(&host);
    half.write_all(b"GET /health HTTP/1.1\r\nHost: local").unwrap();
    let mut message = websocket(&host);
    message.write_all(&frame("\"Ping\"")[..10]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    let pid = host.process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(host.process.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}
