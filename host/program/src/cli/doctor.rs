use std::process::ExitCode;

use anyhow::bail;

use super::config_file::ConfigFile;
use super::{machine, output};
use crate::config::{Backend, BuiltIn, StorageConfig};
use reflow_tracing::storage::SpoolMetrics;
use reflow_tracing::storage::layers::tee;

/// Check the settings of the database server, and print the settings to change, as SQL
///
/// Only PostgreSQL is checked, as the store or in `also`. For each backend of `also`, a line says what waits for it. A line warns of
/// each database granted to a plugin whose user may leave the database, for example a superuser. The exit code is 0 when no setting
/// and no grant needs a change, 3 when one does, and 1 when the check failed.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The memory of the server's machine, for example 16GB [default: the memory of this machine, if the server runs on it]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
}

/// The exit code when a setting needs a change.
const FINDINGS: u8 = 3;

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    config.check_also()?;
    let warnings = config.excessive_grants().await;
    output::print(|out| warnings.iter().try_for_each(|warning| writeln!(out, "-- warning: {warning}")))?;
    let without_advice = if warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) };
    let storage = config.storage;
    describe_queues(&storage).await?;
    let is_postgres = |backend: &Backend| *backend == Backend::BuiltIn(BuiltIn::Postgres);
    if !is_postgres(&storage.backend) && !storage.also.iter().any(|also| is_postgres(&also.backend)) {
        output::print(|out| {
            writeln!(out, "-- the backend is `{}`: only PostgreSQL has settings to check", storage.backend)
        })?;
        return Ok(without_advice);
    }
    let settings = storage.postgres.server_settings().await?;
    let (memory, source) = match (args.memory, settings.local.then(machine::memory)) {
        (Some(memory), _) => (memory, "as given by `--memory`"),
        (None, Some(Some(memory))) => {
            (memory, "this machine's, because the server seems to run on it; `--memory` overrides it")
        }
        (None, Some(None)) => bail!(
            "can't find out how much memory this machine has, where {} seems to run: give it with `--memory`, for example \
             `--memory 16GB`",
            settings.server
        ),
        (None, None) => bail!(
            "{} runs on another machine or in a container, so its memory is unknown: give it with `--memory`, for example \
             `--memory 16GB`",
            settings.server
        ),
    };
    let advice = settings.advice(memory);
    output::print(|out| {
        writeln!(out, "-- {}, version {}", settings.server, settings.version)?;
        writeln!(out, "-- {:.1} GB of memory: {source}", memory as f64 / GB as f64)?;
        if advice.is_empty() {
            return writeln!(out, "-- no setting needs a change");
        }
        let (to_alter, others): (Vec<_>, Vec<_>) = advice.iter().partition(|advice| advice.change.is_altered());
        for advice in others {
            writeln!(out, "-- {} is {}, better: {}; {}", advice.name, advice.is, advice.better, advice.change)?;
        }
        let statements = to_alter.iter().map(|advice| format!("ALTER SYSTEM SET {} = {};", advice.name, advice.better));
        let statements: Vec<_> = statements.collect();
        let width = statements.iter().map(String::len).max().unwrap_or_default();
        for (statement, advice) in statements.iter().zip(&to_alter) {
            writeln!(out, "{statement:width$}  -- is {}; {}", advice.is, advice.change)?;
        }
        if !statements.is_empty() {
            writeln!(out, "SELECT pg_reload_conf();")?;
        }
        Ok(())
    })?;
    Ok(if advice.is_empty() { without_advice } else { ExitCode::from(FINDINGS) })
}

/// Prints what waits for the backends of `also`.
async fn describe_queues(storage: &StorageConfig) -> anyhow::Result<()> {
    for also in &storage.also {
        let (name, dir) = (also.backend.name(), &storage.also_queue.dir);
        let line = match tee::waiting(dir, name).await? {
            None => "nothing was ever queued for it".into(),
            Some(SpoolMetrics { pending_events, pending_traces, bytes, refused, .. }) => format!(
                "{pending_events} events and {pending_traces} trace headers wait for it ({} KiB of at most {} MiB), and {refused} \
                 rejected writes are kept",
                bytes.div_ceil(1024),
                storage.also_queue.max_size_mb
            ),
        };
        output::print(|out| writeln!(out, "-- `{name}` of `also`, queue {}: {line}", dir.join(name).display()))?;
    }
    Ok(())
}

const GB: u64 = 1 << 30;

/// A size with a unit of PostgreSQL's: 1 kB is 1024 bytes.
fn size(text: &str) -> Result<u64, String> {
    /// The least that a machine with a server has.
    const LEAST: u64 = 64 << 20;
    let (number, factor) = [("TB", GB << 10), ("GB", GB), ("MB", 1 << 20)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), factor)))
        .ok_or("expected a number with a unit: 512MB, 16GB, 1TB")?;
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match size.ok_or_else(|| format!("{number:?} is not a whole number"))? {
        size if size < LEAST => Err("expected at least 64MB".into()),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_units_of_postgresql() {
        assert_eq!(size("64MB"), Ok(64 << 20));
        assert_eq!(size("16 GB"), Ok(16 << 30));
        assert_eq!(size("1TB"), Ok(1 << 40));
        for wrong in ["", "16", "GB", "1.5GB", "-1GB", "16gb", "1MB", "99999999999TB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
