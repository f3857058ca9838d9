use std::path::Path;
use std::sync::Arc;

use anyhow::bail;

use super::config_file::ConfigFile;
use super::copying::{Copying, judge};
use super::filter::Filter;
use super::output::print;
use super::progress::{on_progress, summary};
use super::store::{open_source, open_target};
use crate::config::StorageUrl;
use reflow_tracing::TraceQuery;
use reflow_tracing::migration::StorageMigrator;
use reflow_tracing::storage::{MemoryStorage, StorageBackend};

/// Copy traces from one store into another
///
/// A store is sqlite:PATH, postgresql://USER:PASSWORD@HOST/DATABASE, clickhouse://USER:PASSWORD@HOST:PORT/DATABASE,
/// plugin:NAME or memory:. All its other settings come from the configuration; `sqlite:`, `postgresql:` and `clickhouse:`
/// alone are the configured stores. A SQLite file of Reflow's own tracing server can be the source.
///
/// Traces that are already in the target stay, and nothing is stored twice: an interrupted migration can be repeated or
/// resumed. Transient errors are retried, as `retries` in [storage] says.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The store to copy from [default: the configured store]
    #[arg(long, value_name = "URL")]
    from: Option<StorageUrl>,
    /// The store to copy into
    #[arg(long, value_name = "URL")]
    to: StorageUrl,
    #[command(flatten)]
    filter: Filter,
    /// Read the source and write nothing; the target is not opened
    #[arg(long, conflicts_with_all = ["resume", "verify"])]
    dry_run: bool,
    #[command(flatten)]
    copying: Copying,
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
    // Removes the progress bar.
    drop(migrator);
    let closed = (source.close().await, target.close().await);
    let report = outcome.map_err(|error| {
        anyhow::Error::from(error)
            .context(format!("migration from {from} to {to} is incomplete; to continue, run it again with --resume"))
    })?;
    closed.0?;
    closed.1?;
    let done = if args.dry_run { "read; nothing was written" } else { "copied" };
    print(|out| out.write_all(summary(&report, done).as_bytes()))?;
    judge(&report)
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
