//! Files that were made to take much memory.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use chrono::Utc;
use reflow_tracing_model::TraceEvent;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::line::{self, Head, Record};
use super::read::{self, Problem};

fn refusal(content: &[u8]) -> Problem {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    read::check(&Arc::new(file)).unwrap_err()
}

/// The first line of an export.
fn head() -> Vec<u8> {
    let mut head = Vec::new();
    let record = Head { version: line::VERSION, created_at: Utc::now(), created_by: "a test".into() };
    line::write(&mut head, 1, &Record::Export(&record)).unwrap();
    head
}

#[test]
fn a_line_that_expands_to_much_is_refused() {
    let mut bomb = zstd::Encoder::new(Vec::new(), 3).unwrap();
    bomb.write_all(&[&head()[..], b"{\"event\":"].concat()).unwrap();
    // 1 GiB in a few bytes.
    let blanks = vec![b' '; 1 << 20];
    (0..1024).for_each(|_| bomb.write_all(&blanks).unwrap());
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let Problem { line, problem } = refusal(&bomb);
    assert!(line == 2 && problem.contains("longer than 131072 KiB"), "{line}: {problem}");
}

#[test]
fn a_record_that_expands_in_memory_is_refused() {
    let values = vec![r#"{"":0}"#; 1 << 19].join(",");
    let record = format!(r#"{{"event":{{"unknown":[{values}]}}"#);
    let sum = xxh3_64_with_seed(record.as_bytes(), 2);
    let line = format!("{record},\"sum\":\"{sum:016x}\"}}\n");
    let Problem { line, problem } = refusal(&[&head()[..], line.as_bytes()].concat());
    assert!(line == 2 && problem.contains("MiB of memory"), "{line}: {problem}");
}

#[test]
fn what_could_not_be_imported_again_is_not_exported() {
    let mut event = TraceEvent::default();
    event.data.error = Some("x".repeat(line::MAX_BYTES as usize));
    let mut out = b"before".to_vec();
    let error = line::write(&mut out, 2, &Record::Event(&event)).unwrap_err().to_string();
    assert!(error.contains(&event.event_id.to_string()) && error.contains("128 MiB"), "{error}");
    assert_eq!(out, b"before");
}
