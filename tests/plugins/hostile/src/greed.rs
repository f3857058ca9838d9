//! Attempts to make the host hold, copy or write too much.

use reflow_tracing_plugin::keyvalue::Bucket;
use reflow_tracing_plugin::sql::Connection;
use reflow_tracing_plugin::{Blobs, EventBatch, Result, StorageError, TracePage, log, metrics};

/// An answer of 1000 MiB that refers to the same MiB of memory.
pub fn repeated_bytes() -> TracePage {
    const SIZE: usize = 1024 * 1024;
    let block = vec![7_u8; SIZE].leak().as_mut_ptr();
    // SAFETY: deliberately unsound. The host must stop the call before these are dropped.
    let bodies = (0..1000).map(|_| unsafe { Vec::from_raw_parts(block, SIZE, SIZE) }).collect();
    TracePage { bodies, next: None }
}

/// Infinitely many batches.
pub fn batches() -> Result<TracePage> {
    loop {
        std::mem::forget(EventBatch::new());
    }
}

/// The body, 1000 times.
fn thousand(body: &[u8]) -> Blobs {
    let ends = (1..=1000).map(|number| (number * body.len()) as u32).collect();
    Blobs { data: body.repeat(1000), ends }
}

/// Infinitely many events in one batch.
pub fn push(body: &[u8]) -> Result<TracePage> {
    let (batch, events) = (EventBatch::new(), thousand(body));
    loop {
        batch.push(&events).map_err(StorageError::Exhausted)?;
    }
}

/// Infinitely many events in many batches.
pub fn push_to_many(body: &[u8]) -> Result<TracePage> {
    let events = thousand(body);
    let mut batches = Vec::new();
    loop {
        let batch = EventBatch::new();
        batch.push(&events).map_err(StorageError::Exhausted)?;
        batches.push(batch);
    }
}

/// Traps while it holds a transaction, a batch and a bucket.
pub fn hold_and_trap() -> Result<TracePage> {
    let connection = Connection::open("default")?;
    let _transaction = connection.begin()?;
    let _batch = EventBatch::new();
    let bucket = Bucket::open("default")?;
    bucket.set(b"held", b"1", None)?;
    panic!("while it holds handles");
}

/// More messages than the rate limit allows.
pub fn log() -> Result<TracePage> {
    for number in 0..50_000 {
        log::write(log::Level::Info, format!("flood {number}"));
    }
    Err(StorageError::NotFound("logged".into()))
}

/// More metrics than the limit allows.
pub fn metrics() -> Result<TracePage> {
    for number in 0..2_000 {
        metrics::count(&format!("flood_{number}"), 1);
        metrics::gauge(&"long".repeat(100), 1.0);
    }
    Err(StorageError::NotFound("counted".into()))
}
