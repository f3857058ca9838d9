use std::process::ExitCode;

use anyhow::bail;

use super::{ConfigFile, output};

/// Look at the settings of the database server, and print what had better be changed, as SQL to paste
///
/// Looks at PostgreSQL; with another backend there is nothing that it knows of. Exits with 0 when nothing is to be
/// changed, with 3 when something is, with 1 when that could not be found out.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The memory of the server's machine: `16GB` [default: this machine's, if the server is on it]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
}

/// Something is to be changed.
const FINDINGS: u8 = 3;

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    if config.storage.backend != "postgres" {
        let backend = config.storage.backend;
        output::print(|out| {
            writeln!(out, "-- the backend is `{backend}`: only PostgreSQL has settings that this looks at")
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = config.storage.postgres.server_settings().await?;
    let (memory, whose) = match (args.memory, this_machine().filter(|_| settings.local)) {
        (Some(memory), _) => (memory, "as `--memory` says"),
        (None, Some(memory)) => {
            (memory, "this machine's, since the server seems to be on it; `--memory` says otherwise")
        }
        (None, None) => bail!(
            "{} is on another machine, or in a container, so its memory is not known: say how much there is, for \
             example `--memory 16GB`",
            settings.server
        ),
    };
    let advice = settings.advice(memory);
    output::print(|out| {
        writeln!(out, "-- {}, version {}", settings.server, settings.version)?;
        writeln!(out, "-- {:.1} GB of memory: {whose}", memory as f64 / GB as f64)?;
        if advice.is_empty() {
            return writeln!(out, "-- nothing is to be changed");
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
    Ok(if advice.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

/// The bytes of memory that this machine has, or that this process may use if that is less.
fn this_machine() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let limit = system.cgroup_limits().map(|limits| limits.total_memory).filter(|limit| *limit > 0);
    Some(limit.unwrap_or(u64::MAX).min(system.total_memory())).filter(|memory| *memory > 0)
}

const GB: u64 = 1 << 30;

/// A size with a unit, as PostgreSQL has them: 1 kB is 1024 bytes.
fn size(text: &str) -> Result<u64, String> {
    /// Less is no machine that runs a server.
    const LEAST: u64 = 64 << 20;
    let (number, factor) = [("TB", GB << 10), ("GB", GB), ("MB", 1 << 20)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), factor)))
        .ok_or("it needs a unit: 512MB, 16GB, 1TB")?;
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match size.ok_or_else(|| format!("{number:?} is no whole number"))? {
        size if size < LEAST => Err("it must be at least 64MB".into()),
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
