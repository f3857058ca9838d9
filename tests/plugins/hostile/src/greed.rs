//! Ways to have the host keep, copy or write more than is right.

use reflow_tracing_plugin::keyvalue::Bucket;
use reflow_tracing_plugin::sql::Connection;
use reflow_tracing_plugin::{Blobs, EventBatch, Result, StorageError, TracePage, log, metrics};

/// An answer of a thousand mebibytes in one mebibyte of memory.
pub fn the_same_bytes_again_and_again() -> TracePage {
    const SIZE: usize = 1024 * 1024;
    let block = vec![7_u8; SIZE].leak().as_mut_ptr();
    // SAFETY: not sound, which is the point: it is not to come to the moment when these are dropped.
    let bodies = (0..1000).map(|_| unsafe { Vec::from_raw_parts(block, SIZE, SIZE) }).collect();
    TracePage { bodies, next: None }
}

/// Batches without end.
pub fn batches() -> Result<TracePage> {
    loop {
        std::mem::forget(EventBatch::new());
    }
}

/// A thousand times the body.
fn thousand(body: &[u8]) -> Blobs {
    let ends = (1..=1000).map(|number| (number * body.len()) as u32).collect();
    Blobs { data: body.repeat(1000), ends }
}

/// Events without end, in one batch.
pub fn push(body: &[u8]) -> Result<TracePage> {
    let (batch, events) = (EventBatch::new(), thousand(body));
    loop {
        batch.push(&events).map_err(StorageError::Exhausted)?;
    }
}

/// Events without end, in many batches.
pub fn push_to_many(body: &[u8]) -> Result<TracePage> {
    let events = thousand(body);
    let mut batches = Vec::new();
    loop {
        let batch = EventBatch::new();
        batch.push(&events).map_err(StorageError::Exhausted)?;
        batches.push(batch);
    }
}

/// Traps with one of everything in its hands.
pub fn hold_and_trap() -> Result<TracePage> {
    let connection = Connection::open("default")?;
    let _transaction = connection.begin()?;
    let _batch = EventBatch::new();
    let bucket = Bucket::open("default")?;
    bucket.set(b"held", b"1", None)?;
    panic!("with its hands full");
}

/// More messages than anyone reads.
pub fn log() -> Result<TracePage> {
    for number in 0..50_000 {
        log::write(log::Level::Info, format!("flood {number}"));
    }
    Err(StorageError::NotFound("logged".into()))
}

/// More figures than anyone keeps.
pub fn metrics() -> Result<TracePage> {
    for number in 0..2_000 {
        metrics::count(&format!("flood_{number}"), 1);
        metrics::gauge(&"long".repeat(100), 1.0);
    }
    Err(StorageError::NotFound("counted".into()))
}
