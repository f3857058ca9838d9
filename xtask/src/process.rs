//! Child processes: shown before they start, ended when they hang, never left behind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const POLL: Duration = Duration::from_millis(20);

/// Prints the command, runs it, and fails when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    ensure!(status.success(), "{} ended with {status}", name(command));
    Ok(())
}

/// What the command prints on stdout, or an error with what it said on stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", name(command)))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` ended with {}: {}", shown(command), output.status, stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Like [`run`], but ends the command when it takes longer than `limit`.
pub fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let Some(status) = Guarded::spawn(command)?.wait_within(limit)? else {
        bail!("{} took longer than {} s and was stopped", name(command), limit.as_secs());
    };
    ensure!(status.success(), "{} ended with {status}", name(command));
    Ok(())
}

/// A child that ends with this value, and with this process however that ends.
pub struct Guarded {
    child: Child,
    warden: Option<Child>,
}

impl Guarded {
    /// Starts the command.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {}", name(command)))?;
        let warden = warden(child.id());
        Ok(Self { child, warden })
    }

    /// The child's stdout, once, when it was asked for.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The child's status, or `None` when it is still running after `limit`.
    pub fn wait_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for a child process")? {
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the child to end, as a service manager does. Where there are no signals, it is ended.
    pub fn terminate(&mut self) -> Result<()> {
        if cfg!(unix) {
            run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))
        } else {
            self.child.kill().context("cannot end a child process")
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // First the warden, which would signal a process id that is free for others once the child is waited for.
        for child in self.warden.iter_mut().chain([&mut self.child]) {
            // These fail only for a child that has ended and was waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ends a process when this one dies without running destructors, by a signal for instance: its end closes the pipe that
/// the warden reads. Where there is no shell, there is no warden.
fn warden(process: u32) -> Option<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line; kill -TERM \"$0\"", &process.to_string()]);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// Whether a program of this name is on the PATH.
pub fn on_path(program: &str) -> bool {
    find_on_path(program).is_some()
}

/// The program's file.
pub fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let file = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).map(|folder| folder.join(&file)).find(|file| file.is_file())
}

/// The command as it would be typed, with the variables that were set for it.
fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.to_string_lossy(), quoted(&value.to_string_lossy())))
    });
    let arguments = command.get_args().map(|argument| quoted(&argument.to_string_lossy()));
    variables.chain([name(command)]).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    // \x1f separates the flags in cargo's CARGO_ENCODED_RUSTFLAGS.
    format!("'{}'", word.replace('\x1f', "$US"))
}

/// `cargo` for the path of a cargo; a path that says where in the workspace stays as it is.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let shown = if program.is_absolute() { program.file_name().unwrap_or_default() } else { program.as_os_str() };
    OsStr::to_string_lossy(shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("/opt/bin/cargo");
        command.env("RUSTDOCFLAGS", "-D warnings").env_remove("CARGO_PKG_NAME").args(["doc", "--no-deps", ""]);
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps ''");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let start = Instant::now();
        let error = run_within(Duration::from_millis(50), Command::new("sleep").arg("30")).unwrap_err();
        assert!(error.to_string().starts_with("sleep took longer"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failure_includes_the_error_output() {
        let error = output(Command::new("sh").args(["-c", "echo no disk >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("no disk") && error.contains('3'), "{error}");
    }
}
