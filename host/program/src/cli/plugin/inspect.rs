use std::io::{self, Write};
use std::path::PathBuf;

use super::report::{Format, size, write_problems};
use crate::cli::output;
use reflow_tracing::plugin::{Inspection, inspect, world_of};

/// Show all properties of a plugin file
#[derive(clap::Args)]
pub(super) struct Args {
    /// The component or core module
    file: PathBuf,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let inspection = inspect(&args.file)?;
    // The world of a file with problems may have no text form.
    let wit = if inspection.problems.is_empty() { Some(world_of(&args.file)?) } else { None };
    match args.format {
        Format::Text => output::print(|out| write(out, &inspection, wit.as_deref()))?,
        Format::Json => output::print_json(|out| {
            let mut all = serde_json::to_value(&inspection)?;
            all["wit"] = wit.into();
            serde_json::to_writer_pretty(&mut *out, &all)?;
            writeln!(out)
        })?,
    }
    Ok(())
}

fn write(out: &mut dyn Write, inspection: &Inspection, wit: Option<&str>) -> io::Result<()> {
    let or_none = |parts: &[String]| if parts.is_empty() { "none".into() } else { parts.join(", ") };
    writeln!(out, "file          {}", inspection.file.display())?;
    writeln!(out, "kind          {}", inspection.kind)?;
    writeln!(out, "size          {}", size(inspection.bytes))?;
    writeln!(out, "sha256        {}", inspection.sha256)?;
    writeln!(out, "contract      {}", inspection.contract.as_deref().unwrap_or("none"))?;
    writeln!(out, "capabilities  {}", or_none(&inspection.capabilities))?;
    writeln!(out, "language      {}", inspection.language.as_deref().unwrap_or("unknown"))?;
    // The languages of all parts, such as an interpreter, are in the JSON.
    for (role, made) in inspection.producers.iter().filter(|(role, _)| *role != "language") {
        let made: Vec<_> =
            made.iter().map(|(name, version)| format!("{name} {version}").trim_end().to_owned()).collect();
        writeln!(out, "{role:<14}{}", made.join(", "))?;
    }
    write_problems(out, inspection)?;
    match wit {
        Some(wit) => writeln!(out, "\n{}", wit.trim_end()),
        None => writeln!(
            out,
            "imports       {}\nexports       {}",
            or_none(&inspection.imports),
            or_none(&inspection.exports)
        ),
    }
}
