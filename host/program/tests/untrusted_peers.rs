//! A host refuses untrusted web pages, and survives peers that read nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::command_line::{Host, folder};

/// A connection to the host, with a time limit for answers.
pub(crate) fn connect(host: &Host) -> TcpStream {
    let stream = TcpStream::connect(host.url.strip_prefix("ws://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// The answer to a request: the head and what arrived with it; of a refusal, everything.
fn answer(mut stream: &TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part).unwrap();
        answer.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&answer);
        if length == 0 || text.contains("\r\n\r\n") && !text.starts_with("HTTP/1.1 403") {
            return text.into_owned();
        }
    }
}

pub(crate) fn get(host: &Host, path: &str, headers: &str) -> String {
    answer(&connect(host), &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"))
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A connection that requested an upgrade to WebSocket, and the answer.
pub(crate) fn upgrade(host: &Host, headers: &str) -> (TcpStream, String) {
    let stream = connect(host);
    let answer = answer(&stream, &format!("GET /any HTTP/1.1\r\n{UPGRADE}{headers}\r\n"));
    (stream, answer)
}

#[test]
fn an_untrusted_page_is_refused_on_every_path() {
    let folder = folder();
    let host = Host::start(folder.path());
    for path in ["/metrics", "/health", "/api/v1/plugins", "/any"] {
        let refused = get(&host, path, "Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n");
        assert!(refused.starts_with("HTTP/1.1 403"), "{path}: {refused}");
        assert!(refused.contains("\"https://evil.example\"") && refused.contains("`allowed_origins`"), "{refused}");
        let refused = get(&host, path, "Host: evil.example:8080\r\nAccept-Language: en\r\n");
        assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("`allowed_hosts`"), "{path}: {refused}");
    }
    for origin in ["https://evil.example", "null", "http://evil.example:8080"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n{}\r\n",
            UPGRADE.replace("Connection: Upgrade", "Connection: Upgrade, close")
        );
        let refused = answer(&connect(&host), &request);
        assert!(refused.starts_with("HTTP/1.1 403"), "{origin}: {refused}");
    }
}

#[test]
fn senders_without_an_origin_and_local_pages_are_served() {
    let folder = folder();
    let host = Host::start(folder.path());
    assert!(get(&host, "/health", "Host: traces.default.svc:8080\r\n").starts_with("HTTP/1.1 200"));
    for headers in [
        "Host: 127.0.0.1\r\n",
        "Host: traces.default.svc:8080\r\n",
        "Host: localhost\r\nOrigin: http://localhost:3000\r\n",
    ] {
        let (_, answer) = upgrade(&host, headers);
        assert!(answer.starts_with("HTTP/1.1 101"), "{headers}: {answer}");
    }
}

#[test]
fn the_configuration_allows_origins_and_hosts() {
    let folder = folder();
    let text =
        "[server]\nport = 0\nallowed_origins = [\"https://dash.example\"]\nallowed_hosts = [\"traces.example\"]\n";
    std::fs::write(folder.path().join("reflow_tracing.toml"), text).unwrap();
    let host = Host::start(folder.path());
    let (_, answer) = upgrade(&host, "Host: traces.example\r\nOrigin: https://dash.example\r\n");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let answer = get(&host, "/health", "Host: traces.example\r\nAccept-Language: en\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The peak memory of the process so far, in bytes.
#[cfg(target_os = "linux")]
pub(crate) fn peak_memory(host: &Host) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", host.process.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_sends_pings_and_reads_nothing_does_not_grow_memory() {
    let folder = folder();
    let host = Host::start(folder.path());
    let (mut stream, answer) = upgrade(&host, "Host: localhost\r\n");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let before = peak_memory(&host);
    // Masked with zeros, of the maximum length.
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.extend([b'x'; 125]);
    let pings = ping.repeat(8_000);
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut sent = 0;
    while sent < 200_000_000 {
        match stream.write(&pings) {
            Ok(length) => sent += length,
            // The host has stopped reading.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{error}"),
        }
    }
    let grown = peak_memory(&host) - before;
    assert!(grown < 20_000_000, "{grown} bytes more after {sent} bytes of pings");
    assert!(get(&host, "/health", "Host: localhost\r\n").starts_with("HTTP/1.1 200"));
    assert!(upgrade(&host, "Host: localhost\r\n").1.starts_with("HTTP/1.1 101"));

    // A peer that resumes reading gets all answers.
    let mut pong = [0; 127];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!((pong[0], pong[1], pong[126]), (0x8a, 125, b'x'));
}
