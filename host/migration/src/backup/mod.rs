//! Exports a store to a file and imports it, for every backend.
//!
//! A file of JSON lines, compressed if its name ends in `.zst`: a first line that identifies the format, the traces by
//! ascending start, each as its header followed by its events, then the traces without a header, then a manifest. Each line has
//! a checksum (see [`line`]), and the manifest has that of the whole. An import checks the whole file before it stores
//! anything.

mod line;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use reflow_tracing_model::TraceQuery;
use reflow_tracing_storage::{StorageBackend, StorageBackendExt};

use crate::batch::batches;
use crate::counts::Counts;
use crate::digest::Digest;
use crate::report::{MigrationReport, Progress, Verification};
use crate::store_stream::{resume_after, stream_store};
use crate::{CopyOptions, MigrationError, copy, verify};
use read::{Checked, Problem};

/// Backup and restore, for every backend.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("traces.jsonl.zst");
/// use reflow_tracing_memory::MemoryStorage;
/// use reflow_tracing_migration::Backup;
///
/// let storage = MemoryStorage::new();
/// let exported = storage.export_to_file(&path).await?;
/// let imported = storage.import_from_file(&path).await?;
/// assert_eq!(exported.copied, imported.copied);
/// # Ok(())
/// # }
/// ```
pub trait Backup: StorageBackend {
    /// Exports all traces to a file, compressed if the name ends in `.zst`.
    ///
    /// The file appears when it is complete, and replaces one of that name; until then it is called `PATH.partial`.
    fn export_to_file(
        &self,
        path: impl AsRef<Path> + Send,
    ) -> impl Future<Output = Result<MigrationReport, MigrationError>> + Send {
        async move { self.export_to_file_with(path, TraceQuery::default(), &CopyOptions::default()).await }
    }

    /// Exports the traces that match `filter`; otherwise like [`export_to_file`](Self::export_to_file). Limit, offset and order
    /// of the query are ignored, and of the options only `on_progress` applies.
    fn export_to_file_with(
        &self,
        path: impl AsRef<Path> + Send,
        filter: TraceQuery,
        options: &CopyOptions,
    ) -> impl Future<Output = Result<MigrationReport, MigrationError>> + Send {
        async move { write::to_file(self, path.as_ref(), filter, options).await }
    }

    /// Exports to any writer, which is called `name` in errors; not compressed.
    fn export_to_writer(
        &self,
        writer: impl Write + Send + 'static,
        name: impl AsRef<Path> + Send,
        filter: TraceQuery,
        options: &CopyOptions,
    ) -> impl Future<Output = Result<MigrationReport, MigrationError>> + Send {
        async move { write::to_writer(self, writer, name.as_ref(), filter, options).await }
    }

    /// Imports an export. The whole file is checked before anything is stored.
    ///
    /// Existing data stays, except that headers are replaced: running an interrupted import again completes it.
    fn import_from_file(
        &self,
        path: impl AsRef<Path> + Send,
    ) -> impl Future<Output = Result<MigrationReport, MigrationError>> + Send {
        async move { ExportFile::open(path).await?.import_into(self, &CopyOptions::default()).await }
    }
}

impl<B: StorageBackend + ?Sized> Backup for B {}

fn is_compressed_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zst"))
}

/// An export that was checked from the first line to the last.
#[derive(Debug)]
pub struct ExportFile {
    file: Arc<File>,
    path: PathBuf,
    checked: Checked,
}

impl ExportFile {
    /// Reads and checks a file, compressed or not.
    ///
    /// Fails with [`MigrationError::Damaged`] if it is not an export, was changed, is incomplete, or was written by a newer
    /// version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, MigrationError> {
        let path = path.as_ref().to_owned();
        Self::check(path, |path| File::open(path)).await
    }

    /// The same for `input`, which is called `name` in errors. It is written to a temporary file first, because nothing may be
    /// stored before the last line was checked.
    pub async fn receive(
        mut input: impl Read + Send + 'static,
        name: impl AsRef<Path>,
    ) -> Result<Self, MigrationError> {
        let spool = move |_: &Path| {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut input, &mut file)?;
            Ok(file)
        };
        Self::check(name.as_ref().to_owned(), spool).await
    }

    async fn check(
        path: PathBuf,
        open: impl FnOnce(&Path) -> io::Result<File> + Send + 'static,
    ) -> Result<Self, MigrationError> {
        let name = path.clone();
        let problem = move |error: io::Error| MigrationError::File { path: name, problem: error.to_string() };
        let checked = tokio::task::spawn_blocking(move || {
            let file = match open(&path) {
                Ok(file) => Arc::new(file),
                Err(error) => return Err(MigrationError::File { problem: error.to_string(), path }),
            };
            match read::check(&file) {
                Ok(checked) => Ok(Self { file, path, checked }),
                Err(Problem { line, problem }) => Err(MigrationError::Damaged { path, line, problem }),
            }
        });
        checked.await.map_err(|error| problem(error.into()))?
    }

    /// The counts and the checksum of the contents.
    pub fn digest(&self) -> &Digest {
        &self.checked.digest
    }

    /// Stores the contents of the file.
    pub async fn import_into<B: StorageBackend + ?Sized>(
        &self,
        target: &B,
        options: &CopyOptions,
    ) -> Result<MigrationReport, MigrationError> {
        let started = Instant::now();
        let resumed = match &options.journal {
            Some(journal) => journal.read(target).await?,
            None => None,
        };
        let (position, before) =
            resumed.map_or((None, Counts::default()), |checkpoint| (Some(checkpoint.position), checkpoint.counts));
        options.notify(Progress::Started { traces: self.checked.digest.traces, resumed: before.digest });
        let parts = resume_after(read::parts(Arc::clone(&self.file)), position);
        let batches = batches(parts, options.batch_events.get(), options.horizon(target), before);
        let mut report =
            copy::store(batches, target, options, before).await.map_err(|error| self.named(error))?.report();
        report.warn_of_expiry(options.horizon(target));
        if options.verify {
            report.verification = Some(self.verify(target, options).await.map_err(|error| self.named(error))?);
        }
        options.finish()?;
        report.took = started.elapsed();
        Ok(report)
    }

    /// Compares the store with the file.
    async fn verify<B: StorageBackend + ?Sized>(
        &self,
        target: &B,
        options: &CopyOptions,
    ) -> Result<Verification, MigrationError> {
        let lists_headerless = self.checked.digest.headerless > 0 && target.headerless_traces(None, 1).await.is_ok();
        let of_file = TraceQuery { time_range: self.checked.range, ..TraceQuery::default() };
        let in_store = stream_store(target, of_file, lists_headerless, None);
        verify::compare(read::parts(Arc::clone(&self.file)), in_store, None::<&B>, target, options).await
    }

    /// An error of the source names the file.
    fn named(&self, error: MigrationError) -> MigrationError {
        match error {
            MigrationError::Source(error) => {
                MigrationError::File { path: self.path.clone(), problem: error.to_string() }
            }
            other => other,
        }
    }
}
