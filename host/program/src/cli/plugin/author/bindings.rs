use std::path::PathBuf;

use anyhow::bail;

use super::language::{Language, c, go};
use super::manifest::{FILE, Manifest};
use crate::cli::output;

/// Generate the bindings of a plugin in C or Go from its wit/, for editors; `plugin build` does so too
#[derive(clap::Args)]
pub(in crate::cli::plugin) struct Args {
    /// The folder of the plugin; the files are written to bindings/ in it
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The language [default: that of the folder's plugin.toml]
    #[arg(long, value_enum)]
    lang: Option<Language>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let language = match (args.lang, Manifest::read(&args.dir)?) {
        (Some(language), _) => language,
        (None, Some(manifest)) => manifest.language,
        (None, None) => bail!("{} does not exist: give the language with --lang", args.dir.join(FILE).display()),
    };
    let written = match language {
        Language::C => c::bindings(&args.dir)?,
        Language::Go => go::bindings(&args.dir)?,
        other => bail!("bindings are generated for C and Go; the tools of {other:?} generate their own"),
    };
    output::print(|out| writeln!(out, "wrote the bindings to {}", written.display()))?;
    Ok(())
}
