//! The progress of a migration in a small file, from which an interrupted one goes on.

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

/// How often progress is written down. Each time the target is flushed first: a power failure must not lose what is noted as
/// done.
const EVERY: Duration = Duration::from_secs(1);

/// Where the progress of a migration is written down, while it runs. The file is removed when everything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The file.
    pub path: PathBuf,
    /// What is copied from where to where. A journal of something else is refused.
    pub about: String,
    /// Whether to go on where the journal says that an earlier run ended, if there is one. Otherwise everything is copied.
    pub resume: bool,
}

const VERSION: u32 = 1;

/// What the file holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    about: String,
    #[serde(flatten)]
    checkpoint: Checkpoint,
}

/// How far a copy got: everything up to `position` is stored, and was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    #[serde(rename = "done")]
    pub position: StreamPosition,
    #[serde(rename = "seen")]
    pub counts: Counts,
}

impl Journal {
    /// Where an earlier run ended, if `target` still has what was copied last: it may be a new one of the same name.
    pub(crate) async fn read<B: StorageBackend + ?Sized>(
        &self,
        target: &B,
    ) -> Result<Option<Checkpoint>, MigrationError> {
        let Some(checkpoint) = self.checkpoint()? else { return Ok(None) };
        if has(target, checkpoint.position).await.map_err(MigrationError::Target)? {
            return Ok(Some(checkpoint));
        }
        tracing::warn!(
            "the target does not have trace {}, which the journal {} says was copied last: everything is copied again",
            checkpoint.position.trace_id(),
            self.path.display()
        );
        Ok(None)
    }

    /// What the file holds; `None` when it is not there, or not to be resumed from.
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
            self.problem(format!("it is not a journal of a migration ({error}); remove it, or begin without resuming"))
        })?;
        if entry.version != VERSION {
            return Err(self.problem("it was written by another version of this program; begin without resuming"));
        }
        if entry.about != self.about {
            let other =
                format!("it is about another migration: {}; begin without resuming, or name another file", entry.about);
            return Err(self.problem(other));
        }
        Ok(Some(entry.checkpoint))
    }

    fn write(&self, checkpoint: Checkpoint) -> Result<(), MigrationError> {
        let entry = Entry { version: VERSION, about: self.about.clone(), checkpoint };
        let text = serde_json::to_string(&entry).map_err(|error| self.problem(error))?;
        replace(&self.path, text.as_bytes()).map_err(|error| self.problem(error))
    }

    /// There is nothing left to do.
    pub(crate) fn remove(&self) -> Result<(), MigrationError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.problem(error)),
            _ => Ok(()),
        }
    }

    fn problem(&self, problem: impl ToString) -> MigrationError {
        MigrationError::File { path: self.path.clone(), problem: format!("the journal: {}", problem.to_string()) }
    }
}

/// Whether a store has anything of this trace.
async fn has<B: StorageBackend + ?Sized>(store: &B, position: StreamPosition) -> Result<bool, StorageError> {
    match position {
        StreamPosition::Trace { trace_id, .. } => {
            Ok(store.get_headers(vec![trace_id]).await?.iter().any(Option::is_some))
        }
        StreamPosition::Headerless { trace_id } => Ok(store.stream_events(trace_id).try_next().await?.is_some()),
    }
}

/// The file has either its old content or the new one, whenever the machine stops.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Writes a journal while a copy goes on, if there is one.
pub(crate) struct JournalWriter<'a> {
    journal: Option<&'a Journal>,
    last: Instant,
    /// What was reached and is not in the journal yet.
    reached: Option<Checkpoint>,
}

impl<'a> JournalWriter<'a> {
    pub(crate) fn new(journal: Option<&'a Journal>) -> Self {
        Self { journal, last: Instant::now(), reached: None }
    }

    /// Everything to here is stored in `target`.
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

    /// Writes down what was reached.
    pub(crate) async fn note<B: StorageBackend + ?Sized>(&mut self, target: &B) -> Result<(), MigrationError> {
        let (Some(journal), Some(checkpoint)) = (self.journal, self.reached) else { return Ok(()) };
        match target.flush().await {
            Ok(()) => journal.write(checkpoint)?,
            // It is noted next time.
            Err(error) if error.is_retryable() => tracing::debug!("not noted in the journal: {error}"),
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
}
