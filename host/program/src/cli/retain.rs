use std::time::Duration;

use anyhow::bail;

use super::output;
use super::store::{Store, open_existing};
use crate::config::{RetentionConfig, parse_duration};
use reflow_tracing::maintenance::retention;

/// Delete traces that are over a limit of age, number or size, oldest first
///
/// Without an option, the limits in [storage.retention] of the configuration apply. Running traces are kept.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    store: Store,
    /// Delete traces that started longer ago than this: 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Keep at most this many traces
    #[arg(long, value_name = "N")]
    max_traces: Option<u64>,
    /// Delete until the store takes at most this many MiB
    #[arg(long, value_name = "N")]
    max_size_mb: Option<u64>,
    /// Delete nothing; print what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let (url, config) = args.store.describe()?;
    let mut config = url.choose(config);
    if args.older_than.is_some() || args.max_traces.is_some() || args.max_size_mb.is_some() {
        config.storage.retention = RetentionConfig {
            max_age: args.older_than,
            max_traces: args.max_traces,
            max_size_mb: args.max_size_mb,
            ..RetentionConfig::default()
        };
    }
    let policy = config.storage.retention.policy();
    if policy.keeps_everything() {
        bail!(
            "no retention limit is set: give --older-than, --max-traces or --max-size-mb, or set a limit in \
             [storage.retention] of the configuration"
        );
    }
    config.check_retention()?;
    let storage = open_existing(&config, &url).await?;
    retention::check(&*storage, &policy).await?;
    let report = retention::retain(&*storage, &policy, args.dry_run).await?;
    if report.deleted() > 0
        && !args.dry_run
        && let Err(error) = storage.flush().await
    {
        tracing::warn!("the traces were deleted, but not all of their room was given back yet: {error}");
    }
    storage.close().await?;
    let done = if args.dry_run { "would delete" } else { "deleted" };
    Ok(output::print(|out| writeln!(out, "{done} {report}"))?)
}
