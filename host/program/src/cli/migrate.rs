use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use chrono::Utc;
use xxhash_rust::xxh3::xxh3_64;

use super::ConfigFile;
use super::filter::Filter;
use super::output::print;
use super::progress::{on_progress, summary};
use super::store::{open_source, open_target};
use crate::config::{Config, StorageUrl};
use reflow_tracing::TraceQuery;
use reflow_tracing::migration::{CopyOptions, Journal, MigrationReport, OnProgress, StorageMigrator};
use reflow_tracing::storage::{MemoryStorage, StorageBackend};

/// Copy traces from one store into another
///
/// A store is sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE, clickhouse://USER:PASSWORD@HOST:PORT/DATABASE, plugin:NAME or memory:, with all its other settings
/// from the configuration; `sqlite:`, `postgresql:` and `clickhouse:` alone are the configured ones. SQLite files of older Reflow tracing
/// servers can be copied from. What the target has already stays, and nothing is stored twice, so a migration that was
/// interrupted can be done again, or resumed.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The store to copy from [default: the one that the configuration names]
    #[arg(long, value_name = "URL")]
    from: Option<StorageUrl>,
    /// The store to copy into
    #[arg(long, value_name = "URL")]
    to: StorageUrl,
    #[command(flatten)]
    filter: Filter,
    /// Read everything and write nothing; the target is not even opened
    #[arg(long, conflicts_with_all = ["resume", "verify"])]
    dry_run: bool,
    #[command(flatten)]
    copying: Copying,
}

/// How to copy, for every subcommand that does.
#[derive(clap::Args)]
pub(super) struct Copying {
    /// Compare the target with the source at the end, trace by trace
    #[arg(long)]
    verify: bool,
    /// Go on where an earlier run of the same command was interrupted
    #[arg(long)]
    resume: bool,
    /// Where progress is noted for --resume [default: a hidden file in the working folder]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Events that are written at once
    #[arg(long, value_name = "EVENTS", default_value = "5000")]
    batch: NonZeroUsize,
    /// Batches that are written at the same time
    #[arg(long, value_name = "COUNT", default_value = "4")]
    parallel: NonZeroUsize,
}

impl Copying {
    /// `about` tells this copy from others; it goes into `target`.
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
            tracing::info!("an earlier run was interrupted; with --resume this one would go on where it was");
        }
        // A host deletes from the store that the configuration names.
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

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let from = args.from.map_or_else(|| StorageUrl::configured(&config), |url| url.complete(&config));
    let to = args.to.complete(&config);
    if is_same(&from, &to) {
        bail!("{from} and {to} are the same store");
    }
    let filter = args.filter.query();
    let mut about = format!("{from} to {to}");
    if filter != TraceQuery::default() {
        about += &format!(", of it {}", serde_json::to_string(&filter)?);
    }
    let source = open_source(&config, &from).await?;
    let target: Arc<dyn StorageBackend> =
        if args.dry_run { Arc::new(MemoryStorage::new()) } else { open_target(&config, &to).await? };
    let options = args.copying.options(about, &config, &to, on_progress());
    let mut migrator =
        StorageMigrator::shared(Arc::clone(&source), Arc::clone(&target)).filter(filter).options(options);
    if args.dry_run {
        migrator = migrator.dry_run();
    }
    let outcome = migrator.migrate_all_traces().await;
    // And with it the progress bar.
    drop(migrator);
    let closed = (source.close().await, target.close().await);
    let report = outcome.map_err(|error| {
        anyhow::Error::from(error)
            .context(format!("{from} to {to}: not completed; run it again with --resume to go on"))
    })?;
    closed.0?;
    closed.1?;
    let done = if args.dry_run { "read; nothing was written" } else { "copied" };
    print(|out| out.write_all(summary(&report, done).as_bytes()))?;
    judge(&report)
}

/// An error when something is missing in the target.
pub(super) fn judge(report: &MigrationReport) -> anyhow::Result<()> {
    if !report.is_complete() {
        bail!("not everything was copied, or it is not the same: see above");
    }
    Ok(())
}

fn is_same(from: &StorageUrl, to: &StorageUrl) -> bool {
    match (from, to) {
        (StorageUrl::Memory, StorageUrl::Memory) => false,
        (StorageUrl::Sqlite(Some(from)), StorageUrl::Sqlite(Some(to))) => {
            match (Path::new(from).canonicalize(), Path::new(to).canonicalize()) {
                (Ok(from), Ok(to)) => from == to,
                _ => false,
            }
        }
        _ => from == to,
    }
}
