//! The programs that compile plugins.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::cli::output;

/// The file of a program: in one of `folders`, else on the PATH.
pub(super) fn find(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = if cfg!(windows) { &["exe", "cmd"][..] } else { &[""] };
    let files = |folder: PathBuf| names.iter().map(move |extension| folder.join(program).with_extension(extension));
    // An empty entry of the PATH is the working folder, where no tool should be looked for.
    let on_path = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders.iter().cloned().chain(on_path).flat_map(files).find(|file| file.is_file())
}

/// What the program prints on stdout.
pub(super) fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = name(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("can't start {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the program, and shows what it printed if it fails.
pub(super) fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let name = name(command);
    // A tool that is written in Rust would show its own stack after every mistake of the author.
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    // It may take half a minute.
    writeln!(output::stderr(), "building {what} with {name}")?;
    let output = command.output().with_context(|| format!("can't start {name}"))?;
    if !output.status.success() {
        let mut stderr = output::stderr();
        for said in [&output.stdout, &output.stderr] {
            stderr.write_all(said)?;
        }
        anyhow::bail!("can't build {what}: {name} ended with {}; it says why above", output.status);
    }
    Ok(())
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
