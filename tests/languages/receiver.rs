//! Receivers that do not behave. The suite for forwarders has those that do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use reflow_tracing::TraceId;
use reflow_tracing::plugin::{PluginConfig, PluginRuntime, PluginRuntimeConfig};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing_tests::{event_of_id, host_program};
use serde_json::json;
use uuid::Uuid;

use crate::author::Author;

/// What a receiver does with a request after its head.
type Answer = fn(&mut TcpStream) -> std::io::Result<()>;

/// Longer than an exchange may take, and shorter than the call.
const BOUND: Duration = Duration::from_secs(20);

/// Forwards to each of them with the author's forwarder, whose requests are those of its SDK.
pub fn each_that_misbehaves_is_an_error(author: &Author) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let forward = |answer| runtime.block_on(error_of(author, answer));

    let early = forward(|stream| {
        // The body is not read, and does not fit into what the system buffers.
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\n\r\nlarge")?;
        stay(stream)
    });
    assert!(early.to_string().contains("413") && !early.is_retryable(), "{early}");

    let large = forward(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n")?;
        stream.write_all(&vec![b'x'; 2_000_000])?;
        stay(stream)
    });
    assert!(large.to_string().contains("more than 1048576 bytes"), "{large}");

    let cut = forward(|stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx"));
    assert!(cut.is_retryable(), "{cut}");

    let slow = forward(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert!(slow.is_retryable() && slow.to_string().contains("answer"), "{slow}");
}

/// The error of a large write, which comes in bounded time.
async fn error_of(author: &Author, answer: Answer) -> StorageError {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut head = [0; 512];
                // The forwarder may have gone.
                _ = stream.read(&mut head).and_then(|_| match head.starts_with(b"HEAD") {
                    // The health check of a plugin that is loaded.
                    true => stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"),
                    false => answer(&mut stream),
                });
            });
        }
    });
    let config: PluginConfig = serde_json::from_value(json!({
        "grants": { "http": [origin] },
        "config": { "url": origin },
        "limits": { "call_timeout_ms": 120_000, "cpu_ms": 60_000 },
    }))
    .expect("a configuration");
    // What the program has compiled for the suite is used again.
    let cache_dir = Some(host_program().with_file_name("compiled-plugins").join("reflow-tracing"));
    let runtime = PluginRuntime::new(&PluginRuntimeConfig { cache_dir, ..Default::default() }).expect("it is valid");
    let file = author.file("../plugins/ledger.wasm");
    let forwarder = runtime.load("ledger", &file, &config).await.expect("it loads");
    let mut event = event_of_id(Uuid::from_u128(1));
    event.data.custom_attributes.insert("large".into(), json!("x".repeat(6 * 1024 * 1024)));
    let begin = Instant::now();
    let error = forwarder.store_event(TraceId(Uuid::from_u128(7)), event).await.expect_err("it was not accepted");
    assert!(begin.elapsed() < BOUND, "{:?}: {error}", begin.elapsed());
    error
}

/// Keeps the connection open for longer than an exchange may take, and reads nothing.
fn stay(_: &mut TcpStream) -> std::io::Result<()> {
    std::thread::sleep(BOUND);
    Ok(())
}
