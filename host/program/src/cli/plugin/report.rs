//! The properties of a component file, as printed.

use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;

use crate::config::Config;
use reflow_tracing::plugin::{Code, Inspection};

/// The name of the plugin in a file: `plugins/ledger.wasm` is `ledger`.
pub(super) fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The plugin whose table names this file, else the plugin with the file's name.
pub(super) fn configured_name(config: &Config, file: &Path) -> String {
    let same = |other: &Path| other == file || other.canonicalize().ok() == file.canonicalize().ok();
    let named = config.plugins.named.iter().find(|(_, plugin)| plugin.file.as_deref().is_some_and(same));
    named.map_or_else(|| name_of(file), |(name, _)| name.clone())
}

/// One line that says what the file is.
pub(super) fn summary(inspection: &Inspection) -> String {
    let contract = match &inspection.contract {
        Some(version) => format!("for contract {version}"),
        None => "not a storage plugin".into(),
    };
    format!("{}: {}, {contract}, {}", inspection.file.display(), inspection.kind, size(inspection.bytes))
}

/// A format for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

pub(super) fn size(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

/// What it takes to compile the code, about.
pub(super) fn write_estimate(out: &mut dyn Write, code: &Code) -> io::Result<()> {
    writeln!(
        out,
        "compiling its {} functions takes about {:.1} s of processor time and {} MiB of memory",
        code.functions,
        code.estimated_cpu_seconds(),
        code.estimated_mb()
    )
}

/// The problems with their fixes, if any.
pub(super) fn write_problems(out: &mut dyn Write, inspection: &Inspection) -> io::Result<()> {
    for problem in &inspection.problems {
        writeln!(out, "problem: {}\n    fix: {}", problem.what, problem.fix)?;
    }
    Ok(())
}

/// Fails when there are problems, which the caller has printed already.
pub(super) fn without_problems(inspection: &Inspection) -> anyhow::Result<()> {
    let count = match inspection.problems.len() {
        0 => return Ok(()),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    anyhow::bail!("{} does not work with this host: {count}", inspection.file.display())
}

/// An example of a line that grants all of `capabilities`.
pub(super) fn example_grants(capabilities: &[&str], name: &str) -> String {
    let grants: Vec<_> = capabilities.iter().map(|capability| example_grant(capability, name)).collect();
    format!("grants = {{ {} }}", grants.join(", "))
}

/// An example of a grant in the table of the plugin `name`.
fn example_grant(capability: &str, name: &str) -> String {
    let value = match capability {
        "sql" => format!("{{ default = \"sqlite:{name}.db\" }}"),
        "redis" => format!("{{ default = {{ url = \"redis://127.0.0.1:6379\", prefix = \"{name}:\" }} }}"),
        "keyvalue" => format!("{{ default = \"file:{name}.kv\" }}"),
        "http" => "[\"https://api.example.com\"]".into(),
        "secrets" => "{ default = \"env:SECRET\" }".into(),
        _ => "{ default = \"..\" }".into(),
    };
    format!("{capability} = {value}")
}
