//! The journal: a small file with the progress of a migration, to resume an interrupted one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use reflow_tracing_storage::{StorageBackend, StorageError};
use serde::{Deserialize, Serialize};

use crate::MigrationError;
use crate::counts::Counts;
use crate::store_stream::StreamPosition;

/// How often to record progress. The target is flushed first, so that a power failure can't lose recorded writes.
const EVERY: Duration = Duration::from_secs(1);

/// Where to record the progress of a migration. The file is removed when the migration is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The file.
    pub path: PathBuf,
    /// Describes the source and the target. The journal of another migration is rejected.
    pub about: String,
    /// Whether to continue where an earlier run ended, if there is a journal. Otherwise everything is copied.
    pub resume: bool,
}

const VERSION: u32 = 1;

/// The contents of the file, as JSON.
#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    about: String,
    #[serde(flatten)]
    checkpoint: Checkpoint,
}

/// The progress of a copy: everything up to `position` is stored and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    #[serde(rename = "done")]
    pub position: StreamPosition,
    #[serde(rename = "seen")]
    pub counts: Counts,
}

impl Journal {
    /// The position where an earlier run ended, if `target` still has the last copied trace: it may be a new store of the same
    /// name.
    pub(crate) async fn read<B: StorageBackend + ?Sized>(
        &self,
        target: &B,
    ) -> Result<Option<Checkpoint>, MigrationError> {
        let Some(checkpoint) = self.checkpoint()? else { return Ok(None) };
        if has(target, checkpoint.position).await.map_err(MigrationError::Target)? {
            return Ok(Some(checkpoint));
        }
        tracing::warn!(
            "the target does not have trace {}, which the journal {} says was copied last, so everything is copied again",
            checkpoint.position.trace_id(),
            self.path.display()
        );
        Ok(None)
    }

    /// The contents of the file; `None` if it is missing, or must not be resumed from.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, MigrationError> {
        if !self.resume {
            return Ok(None);
        }
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.problem(error)),
        };
        let entry: Entry = serde_json::from_str(&text).map_err(|error| {
            self.problem(format!("it is not a journal of a migration ({error}); remove it, or start without resuming"))
        })?;
        if entry.version != VERSION {
            return Err(self.problem("it was written by another version of this program; start without resuming"));
        }
        if entry.about != self.about {
            let other =
                format!("it is about another migration: {}; start without resuming, or name another file", entry.about);
            return Err(self.problem(other));
        }
        Ok(Some(entry.checkpoint))
    }

    fn write(&self, checkpoint: Checkpoint) -> Result<(), MigrationError> {
        let entry = Entry { version: VERSION, about: self.about.clone(), checkpoint };
        let text = serde_json::to_string(&entry).map_err(|error| self.problem(error))?;
        replace(&self.path, text.as_bytes()).map_err(|error| self.problem(error))
    }

    /// Removes the file after a complete migration, and what an earlier run left that was killed while it wrote.
    pub(crate) fn remove(&self) -> Result<(), MigrationError> {
        for path in [unfinished(&self.path), self.path.clone()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.problem(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn problem(&self, problem: impl ToString) -> MigrationError {
        MigrationError::File { path: self.path.clone(), problem: format!("the journal: {}", problem.to_string()) }
    }
}

/// Whether a store has a header or events of this trace.
async fn has<B: StorageBackend + ?Sized>(store: &B, position: StreamPosition) -> Result<bool, StorageError> {
    match position {
        StreamPosition::Trace { trace_id, .. } => {
            Ok(store.get_headers(vec![trace_id]).await?.iter().any(Option::is_some))
        }
        StreamPosition::Headerless { trace_id } => Ok(store.stream_events(trace_id).try_next().await?.is_some()),
    }
}

/// The file has either its old or its new content, even after a crash.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = unfinished(path);
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Where the new content is until it is complete.
fn unfinished(path: &Path) -> PathBuf {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    new.into()
}

/// Writes the journal during a copy, if there is one.
pub(crate) struct JournalWriter<'a> {
    journal: Option<&'a Journal>,
    last: Instant,
    /// Progress that is not in the journal yet.
    reached: Option<Checkpoint>,
}

impl<'a> JournalWriter<'a> {
    pub(crate) fn new(journal: Option<&'a Journal>) -> Self {
        Self { journal, last: Instant::now(), reached: None }
    }

    /// Records that everything up to this position is stored in `target`.
    pub(crate) async fn reached<B: StorageBackend + ?Sized>(
        &mut self,
        checkpoint: Option<Checkpoint>,
        target: &B,
    ) -> Result<(), MigrationError> {
        self.reached = checkpoint.or(self.reached);
        if self.last.elapsed() < EVERY {
            return Ok(());
        }
        self.last = Instant::now();
        self.note(target).await
    }

    /// Writes the progress to the file.
    pub(crate) async fn note<B: StorageBackend + ?Sized>(&mut self, target: &B) -> Result<(), MigrationError> {
        let (Some(journal), Some(checkpoint)) = (self.journal, self.reached) else { return Ok(()) };
        match target.flush().await {
            Ok(()) => journal.write(checkpoint)?,
            // The next write records it.
            Err(error) if error.is_retryable() => tracing::debug!("the progress is not recorded yet: {error}"),
            Err(error) => return Err(MigrationError::Target(error)),
        }
        self.reached = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_has_the_names_that_earlier_versions_wrote() {
        let json = concat!(
            r#"{"version":1,"about":"a to b","#,
            r#""done":{"Trace":{"start_time":5,"trace_id":"0b6cbe27-6d5f-4f51-b1c4-6bcbc5ae40f2"}},"#,
            r#""seen":{"content":{"traces":3,"headerless":0,"events":4,"bytes":99,"#,
            r#""checksum":"000000000000000000000000000000ff"},"unfinished":1,"expired":2,"unreadable":0}}"#,
        );
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal { path: folder.path().join("journal"), about: "a to b".into(), resume: true };
        fs::write(&journal.path, json).unwrap();
        let checkpoint = journal.checkpoint().unwrap().unwrap();
        assert_eq!((checkpoint.counts.digest.traces, checkpoint.counts.expired), (3, 2));
        journal.write(checkpoint).unwrap();
        assert_eq!(fs::read_to_string(&journal.path).unwrap(), json);
    }

    #[test]
    fn nothing_is_left_of_a_journal_whose_writer_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal { path: folder.path().join("journal"), about: "a to b".into(), resume: true };
        fs::write(&journal.path, "complete").unwrap();
        fs::write(unfinished(&journal.path), "compl").unwrap();
        journal.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        journal.remove().unwrap();
    }
}
