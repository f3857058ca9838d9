//! What the subcommands that copy traces share.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::bail;
use chrono::Utc;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{Config, StorageUrl};
use reflow_tracing::migration::{CopyOptions, Journal, MigrationReport, OnProgress};

/// How to copy.
#[derive(clap::Args)]
pub(super) struct Copying {
    /// Compare the target with the source afterwards, trace by trace
    #[arg(long)]
    verify: bool,
    /// Resume an earlier run of the same command that was interrupted
    #[arg(long)]
    resume: bool,
    /// The file that records the progress for --resume [default: a hidden file in the working folder]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// The events in one batch
    #[arg(long, value_name = "EVENTS", default_value = "5000")]
    batch: NonZeroUsize,
    /// The batches that are written in parallel
    #[arg(long, value_name = "COUNT", default_value = "4")]
    parallel: NonZeroUsize,
}

impl Copying {
    /// The options of a copy into `target`. `about` identifies the copy in the journal.
    pub(super) fn options(
        &self,
        about: String,
        config: &Config,
        target: &StorageUrl,
        on_progress: OnProgress,
    ) -> CopyOptions {
        let path = self.journal.clone().unwrap_or_else(|| {
            Path::new(&format!(".reflow-tracing-journal-{:016x}.json", xxh3_64(about.as_bytes()))).to_owned()
        });
        if !self.resume && path.exists() {
            tracing::info!(
                "starting again from the beginning: an earlier run was interrupted, and --resume is not given"
            );
        }
        // A host applies the retention policy to the configured store only.
        let is_configured = *target == StorageUrl::configured(config);
        let expires_before = is_configured.then(|| config.storage.retention.policy().horizon(Utc::now())).flatten();
        CopyOptions {
            batch_events: self.batch,
            parallelism: self.parallel,
            verify: self.verify,
            expires_before,
            journal: Some(Journal { path, about, resume: self.resume }),
            on_progress: Some(on_progress),
        }
    }
}

/// Fails when the target is incomplete or differs.
pub(super) fn judge(report: &MigrationReport) -> anyhow::Result<()> {
    if !report.is_complete() {
        bail!("the copy is incomplete or differs from the source; the summary above has the details");
    }
    Ok(())
}
