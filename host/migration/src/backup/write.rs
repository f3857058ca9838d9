//! Writes an export: to a file that appears when it is complete, or to any writer.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::Utc;
use futures::TryStreamExt;
use reflow_tracing_model::TraceQuery;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt, StorageError};
use tokio::sync::mpsc;

use super::is_compressed_name;
use super::line::{self, Head, Manifest, Record};
use crate::counts::{Counter, Counts};
use crate::digest::Digest;
use crate::listing::{Listing, listing, note_unread};
use crate::report::{MigrationReport, Progress};
use crate::store_stream::{StorePart, StoreStream, stream_store};
use crate::{CopyOptions, MigrationError};

/// The size of a chunk for the writer in bytes.
const CHUNK: usize = 256 << 10;
/// Parts per progress report.
const PARTS_PER_REPORT: usize = 100;
/// The zstd level: as fast as most disks, for a tenth of the size.
const LEVEL: i32 = 3;

/// Writes the matching traces to a file, which replaces one of that name when it is complete.
pub(super) async fn to_file<B: StorageBackend + ?Sized>(
    source: &B,
    path: &Path,
    filter: TraceQuery,
    options: &CopyOptions,
) -> Result<MigrationReport, MigrationError> {
    let problem = |error: io::Error| MigrationError::File { path: path.to_owned(), problem: error.to_string() };
    let partial = Partial::create(path).map_err(problem)?;
    let out = partial.file.try_clone().map_err(problem)?;
    let report = if is_compressed_name(path) {
        let mut encoder = zstd::Encoder::new(out, LEVEL).map_err(problem)?;
        encoder.include_checksum(true).map_err(problem)?;
        write(source, encoder, |encoder| encoder.finish().map(drop), path, filter, options).await?
    } else {
        to_writer(source, BufWriter::new(out), path, filter, options).await?
    };
    let finish = move || partial.finish();
    tokio::task::spawn_blocking(finish).await.map_err(|error| problem(error.into()))?.map_err(problem)?;
    Ok(report)
}

/// Writes the matching traces to `out`, which is called `name` in errors.
pub(super) async fn to_writer<B: StorageBackend + ?Sized>(
    source: &B,
    out: impl Write + Send + 'static,
    name: &Path,
    filter: TraceQuery,
    options: &CopyOptions,
) -> Result<MigrationReport, MigrationError> {
    write(source, out, |mut out| out.flush(), name, filter, options).await
}

async fn write<B: StorageBackend + ?Sized, W: Write + Send + 'static>(
    source: &B,
    mut out: W,
    finish: fn(W) -> io::Result<()>,
    name: &Path,
    filter: TraceQuery,
    options: &CopyOptions,
) -> Result<MigrationReport, MigrationError> {
    let started = Instant::now();
    filter.validate().map_err(|problem| MigrationError::Source(StorageError::InvalidArgument(problem)))?;
    let headerless = listing(source, &filter).await?;
    let total = source.count_traces(filter.clone()).await.map_err(MigrationError::Source)?;
    options.notify(Progress::Started { traces: total, resumed: Digest::default() });
    let (chunks, mut received) = mpsc::channel::<Vec<u8>>(2);
    // A separate thread compresses and writes.
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = received.blocking_recv() {
            out.write_all(&chunk)?;
        }
        finish(out)
    });
    let parts = stream_store(source, filter.clone(), headerless == Listing::Listed, None);
    let encoded = encode(parts, chunks, options).await;
    let written = writer.await.unwrap_or_else(|error| Err(error.into()));
    // An error of the writer is the cause.
    written.map_err(|error| MigrationError::File { path: name.to_owned(), problem: error.to_string() })?;
    let mut report = encoded?.report();
    note_unread(&mut report, source, filter, headerless).await?;
    report.took = started.elapsed();
    Ok(report)
}

/// Sends the lines in chunks, until the receiver is gone.
async fn encode(
    mut parts: StoreStream<'_>,
    chunks: mpsc::Sender<Vec<u8>>,
    options: &CopyOptions,
) -> Result<Counts, MigrationError> {
    let mut lines = Lines { chunk: Vec::new(), number: 0 };
    let created_by = concat!("reflow-tracing ", env!("CARGO_PKG_VERSION")).to_owned();
    lines.add(&Record::Export(&Head { version: line::VERSION, created_at: Utc::now(), created_by }))?;
    let mut counter = Counter::new(Counts::default(), None);
    let mut unreported_parts = 0;
    while let Some(part) = parts.try_next().await.map_err(MigrationError::Source)? {
        counter.add(&part);
        match part {
            StorePart::Header(header) => lines.add(&Record::Trace(&header))?,
            StorePart::Headerless(trace_id) => lines.add(&Record::Headerless(trace_id))?,
            StorePart::Events(events) => {
                for event in events {
                    lines.add(&Record::Event(&event))?;
                    if !lines.send_if_full(&chunks).await {
                        return Ok(counter.counts());
                    }
                }
            }
            StorePart::Unreadable(what) => options.notify(Progress::Unreadable(what)),
        }
        unreported_parts += 1;
        if unreported_parts == PARTS_PER_REPORT {
            unreported_parts = 0;
            options.notify(Progress::Copied(counter.counts().digest));
        }
        if !lines.send_if_full(&chunks).await {
            return Ok(counter.counts());
        }
    }
    let digest = counter.counts().digest;
    lines.add(&Record::End(&Manifest { digest, lines: lines.number }))?;
    let _ = chunks.send(lines.chunk).await;
    options.notify(Progress::Copied(digest));
    Ok(counter.counts())
}

/// Lines not yet sent to the writer.
struct Lines {
    chunk: Vec<u8>,
    /// Of the last line.
    number: u64,
}

impl Lines {
    fn add(&mut self, record: &Record<'_>) -> Result<(), MigrationError> {
        self.number += 1;
        // Every value from a store can be written as JSON.
        line::write(&mut self.chunk, self.number, record).map_err(|error| MigrationError::Source(error.into()))
    }

    /// Returns whether the receiver is still there.
    async fn send_if_full(&mut self, chunks: &mpsc::Sender<Vec<u8>>) -> bool {
        self.chunk.len() < CHUNK || chunks.send(std::mem::take(&mut self.chunk)).await.is_ok()
    }
}

/// A temporary file beside the target, which is renamed when it is complete.
struct Partial {
    file: File,
    path: PathBuf,
    becomes: PathBuf,
}

impl Partial {
    fn create(path: &Path) -> io::Result<Self> {
        let mut partial = path.to_owned().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // Overwrite the file of an interrupted export, but not that of a running one.
        let file = File::options().write(true).create(true).truncate(false).open(&partial)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another export is writing it"),
            TryLockError::Error(error) => error,
        })?;
        file.set_len(0)?;
        Ok(Self { file, path: partial, becomes: path.to_owned() })
    }

    /// Renames the complete file to its target; after that, it survives a crash of the machine.
    fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.becomes)?;
        self.path.clear();
        let folder = self.becomes.parent().filter(|folder| !folder.as_os_str().is_empty());
        if cfg!(unix) {
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Remove an incomplete file.
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
