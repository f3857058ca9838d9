use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use super::language::rust;
use super::manifest::{self, Manifest};
use crate::cli::config_file::ConfigFile;
use crate::cli::output;
use crate::cli::plugin::place;
use crate::cli::plugin::report::{example_grants, summary, without_problems, write_problems};
use reflow_tracing::plugin::{Inspection, inspect};

/// Compile the plugin in a folder, check it, and install it in the plugins folder
#[derive(clap::Args)]
pub(in crate::cli::plugin) struct Args {
    /// The folder of the plugin, with its plugin.toml or, in Rust, its Cargo.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The file to write [default: NAME.wasm in the configured plugins folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Rust's target to compile for; one that yields core modules with an embedded world, such as wasm32-wasip1, works too
    /// [default: wasm32-wasip2]
    #[arg(long)]
    target: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let built = compile(&args.dir, args.target.as_deref())?;
    let installed = install_built(&built, args.output.as_deref(), &args.config)?;
    output::print(|out| {
        writeln!(out, "{}", summary(&installed))?;
        let usable: Vec<_> = installed.may_use().collect();
        if !usable.is_empty() {
            writeln!(out, "to use it, add to the configuration:\n  [plugins.{}]", built.name)?;
            writeln!(out, "  {}", example_grants(&usable, &built.name))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Checks what was built, and puts it into `output` or into the configured plugins folder. Returns what is there now.
pub(super) fn install_built(built: &Built, output: Option<&Path>, config: &ConfigFile) -> anyhow::Result<Inspection> {
    let folder = config.load()?.plugins.dir;
    let inspection = inspect(&built.file)?;
    write_problems(&mut output::stderr(), &inspection)?;
    without_problems(&inspection)?;
    let wanted = output.map_or_else(|| folder.join(format!("{}.wasm", built.name)), Path::to_owned);
    place::copy(&built.file, &wanted)?;
    Ok(Inspection { file: wanted, ..inspection })
}

/// A compiled plugin.
pub(super) struct Built {
    pub name: String,
    pub file: PathBuf,
}

/// Compiles the plugin in `folder`, for `target` if it is in Rust.
pub(super) fn compile(folder: &Path, target: Option<&str>) -> anyhow::Result<Built> {
    if let Some(Manifest { name, language }) = Manifest::read(folder)? {
        ensure!(target.is_none(), "--target is for plugins in Rust; this one is in {language:?}");
        let file = (language.kit().build)(folder, &name)?;
        return Ok(Built { name, file });
    }
    let package = folder.join("Cargo.toml");
    if !package.is_file() {
        bail!(
            "neither {} nor {} exists: give the folder of a plugin, or create one with `reflow-tracing plugin new`",
            folder.join(manifest::FILE).display(),
            package.display()
        );
    }
    let (name, file) = rust::build(folder, target.unwrap_or(rust::TARGET))?;
    Ok(Built { name, file })
}
