use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::build::{compile, install_built};
use super::test::{StoreArgs, tell};
use crate::cli::config_file::ConfigFile;
use crate::cli::output;
use crate::cli::plugin::report::summary;
use reflow_tracing::plugin::Inspection;

/// Build and test the plugin in a folder whenever a file in it changes
///
/// After a change, the component is compiled and put into the plugins folder, where a running host reloads it. Then the cases
/// of the conformance suite run that failed the last time; when none is left, all of them. Ctrl-C ends it.
#[derive(clap::Args)]
pub(in crate::cli::plugin) struct Args {
    /// The folder of the plugin, with its plugin.toml or, in Rust, its Cargo.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    config: ConfigFile,
}

/// How often to look for changes.
const POLL: Duration = Duration::from_millis(250);
/// Folders that tools write to.
const GENERATED: [&str; 6] = ["target", "build", "gen", "node_modules", "__pycache__", "plugins"];
/// Maximum number of files to watch.
const MOST_FILES: usize = 20_000;

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let mut failing = BTreeSet::new();
    loop {
        let before = stamps(&args.dir)?;
        if let Err(error) = once(&args, &mut failing).await {
            output::print(|out| writeln!(out, "error: {error:#}"))?;
        }
        output::print(|out| writeln!(out, "waiting for a change in {}", args.dir.display()))?;
        changed(&args.dir, before).await?;
    }
}

/// Builds, installs and tests. `failing` are the cases that failed the last time.
async fn once(args: &Args, failing: &mut BTreeSet<&'static str>) -> anyhow::Result<()> {
    let installed: Inspection = tokio::task::block_in_place(|| {
        let built = compile(&args.dir, None)?;
        install_built(&built, None, &args.config)
    })?;
    output::print(|out| writeln!(out, "{}", summary(&installed)))?;
    let stores = args.stores.stores(&installed.file).await?;
    let abilities = stores.check().await?;
    let suite = abilities.restrict(abilities.kind_of_suite());
    if !failing.is_empty() {
        let report = tell(&suite.clone().only_these(failing.iter().copied()), &stores, abilities).await?;
        *failing = report.failed().map(|verdict| verdict.case.name).collect();
        if !failing.is_empty() {
            return print_count(failing.len(), report.verdicts().len(), " of those that failed before");
        }
    }
    let report = tell(&suite, &stores, abilities).await?;
    *failing = report.failed().map(|verdict| verdict.case.name).collect();
    print_count(failing.len(), report.verdicts().len(), "")
}

fn print_count(failed: usize, cases: usize, which: &str) -> anyhow::Result<()> {
    output::print(|out| writeln!(out, "{} passed, {failed} failed{which}", cases - failed))?;
    Ok(())
}

type Stamps = BTreeSet<(PathBuf, Option<SystemTime>, u64)>;

/// Waits until a file differs from `before`, and until no other changes.
async fn changed(folder: &Path, before: Stamps) -> anyhow::Result<()> {
    let mut last = before.clone();
    loop {
        tokio::time::sleep(POLL).await;
        let now = stamps(folder)?;
        if now != before && now == last {
            return Ok(());
        }
        last = now;
    }
}

/// The files of a plugin, with the times of their last changes and their sizes.
fn stamps(folder: &Path) -> anyhow::Result<Stamps> {
    let mut stamps = Stamps::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A folder may be deleted while it is read.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || GENERATED.contains(&&*name) {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                stamps.insert((entry.path(), metadata.modified().ok(), metadata.len()));
            }
            anyhow::ensure!(
                stamps.len() <= MOST_FILES,
                "{} has more than {MOST_FILES} files: is it the folder of a plugin?",
                folder.display()
            );
        }
    }
    Ok(stamps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_noticed_except_of_what_tools_generate() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("src/deep")).unwrap();
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("src/deep/a.py"), "1").unwrap();
        let before = stamps(folder.path()).unwrap();
        assert_eq!(before.len(), 1);
        for ignored in ["target/x", ".hidden"] {
            fs::write(folder.path().join(ignored), "1").unwrap();
        }
        assert_eq!(stamps(folder.path()).unwrap(), before);
        fs::write(folder.path().join("src/deep/a.py"), "22").unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(30), changed(folder.path(), before)).await;
        waited.expect("in time").unwrap();
    }
}
