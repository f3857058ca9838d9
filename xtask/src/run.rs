//! `cargo xtask run`: what the product is for, start to end. A host that keeps traces in a plugin takes a recorded Reflow
//! session, and the traces are queried.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{plugins, process, setup, test, workspace};

const FOLDER: &str = "target/demo";
const CONFIG: &str = "target/demo/reflow_tracing.toml";
const CONFIG_TEXT: &str = r#"# Written by `cargo xtask run`, each time anew. Paths start at the folder that the host is started in.
[server]
host = "127.0.0.1"
port = 0                          # any free port; the host prints which

[storage]
backend = "relational"            # a plugin's name, or a built-in: try "sqlite"

[plugins]
dir = "plugins"

[plugins.relational]
grants = { sql = { default = "sqlite:target/demo/traces.db" } }
"#;
const DATABASE: &str = "traces.db";
const SESSION: &str = "tests/fixtures/reflow-session.jsonl";

/// What the host prints once it takes connections; the address follows.
const READY: &str = "listening on ";
/// The first start compiles the plugin to machine code, in a debug build of the compiler.
const READY_LIMIT: Duration = Duration::from_secs(60);
const CLIENT_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The command.
pub fn main(arguments: &[String]) -> Result<()> {
    crate::no_arguments(arguments)?;
    plugins::build_all(&setup::ready()?)?;
    test::build_host()?;
    prepare()?;

    let binary = workspace::host_binary();
    let (host, url) = Host::start(&binary)?;
    process::run_within(CLIENT_LIMIT, Command::new(&binary).args(["replay", SESSION, "--url", &url]))?;
    process::run_within(CLIENT_LIMIT, Command::new(&binary).args(["query", "--config", CONFIG]))?;
    host.stop()?;

    let binary = binary.display();
    println!(
        "\nThe traces are in {FOLDER}/{DATABASE}. What to try next:
  {binary} query --config {CONFIG} --json        the traces as JSON
  {binary} get TRACE_ID --config {CONFIG}        one of them with its events
  {binary} serve --config {CONFIG}               then give the address that it prints to a
      Reflow program, as `server_url` of its `TracingConfig`
  {CONFIG}                                       with `backend = \"sqlite\"`, \
         the same without a plugin"
    );
    Ok(())
}

/// Writes the configuration, and removes the database of an earlier run with the files that SQLite keeps beside it.
fn prepare() -> Result<()> {
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {FOLDER}"))?;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read the folder {FOLDER}"))? {
        let path = entry.with_context(|| format!("cannot read the folder {FOLDER}"))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DATABASE)) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    fs::write(CONFIG, CONFIG_TEXT).with_context(|| format!("cannot write {CONFIG}"))
}

/// The running host. It ends with this value, and with this process however that ends.
struct Host {
    child: Child,
    warden: Option<Child>,
}

impl Host {
    /// Starts the host and waits until it takes connections; returns its address too. What it prints is passed on.
    fn start(binary: &Path) -> Result<(Self, String)> {
        let mut command = Command::new(binary);
        command.args(["serve", "--config", CONFIG]).stdin(Stdio::null()).stdout(Stdio::piped());
        println!("$ {} serve --config {CONFIG} &", binary.display());
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let warden = warden(child.id());
        let mut host = Self { child, warden };

        let stdout = host.child.stdout.take().context("the host has no stdout")?;
        let (ready, address) = mpsc::channel();
        // Reads to the end: a host whose pipe nobody reads would block when it prints.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
                println!("{line}");
                if let Some(address) = address_in(&line) {
                    // The receiver is gone once it has an address.
                    let _ = ready.send(address.to_string());
                }
            }
        });
        match address.recv_timeout(READY_LIMIT) {
            Ok(address) => Ok((host, address)),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the host did not print `{READY}ws://..` within {} s", READY_LIMIT.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => match process::wait_within(STOP_LIMIT, &mut host.child)? {
                Some(status) => bail!("the host ended with {status} before it was ready; see its output above"),
                None => bail!("the host closed its stdout before it was ready"),
            },
        }
    }

    /// Ends the host as a service manager would, and fails when it does not end well.
    fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot wait for the host")? {
            bail!("the host had ended on its own with {status}");
        }
        let status = self.terminate()?;
        let status = status.with_context(|| format!("the host did not stop within {} s", STOP_LIMIT.as_secs()))?;
        ensure!(status.success(), "the host stopped with {status}");
        Ok(())
    }

    #[cfg(unix)]
    fn terminate(&mut self) -> Result<Option<ExitStatus>> {
        let pid = self.child.id().to_string();
        process::run(Command::new("kill").args(["-TERM", &pid]))?;
        process::wait_within(STOP_LIMIT, &mut self.child)
    }

    #[cfg(not(unix))]
    fn terminate(&mut self) -> Result<Option<ExitStatus>> {
        process::kill(&mut self.child);
        Ok(Some(ExitStatus::default()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // First the warden, which would signal a process id that is free for others once the child is waited for.
        if let Some(warden) = &mut self.warden {
            process::kill(warden);
        }
        process::kill(&mut self.child);
    }
}

/// Ends the host when this process dies without running destructors, by a signal for instance: its end closes the pipe
/// that the warden reads. Where there is no shell, there is no warden.
fn warden(host: u32) -> Option<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line; kill -TERM \"$0\"", &host.to_string()]);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

fn address_in(line: &str) -> Option<&str> {
    line.split_once(READY).map(|(_, address)| address.trim()).filter(|address| address.starts_with("ws://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_ready_line() {
        assert_eq!(address_in("listening on ws://127.0.0.1:8080"), Some("ws://127.0.0.1:8080"));
        assert_eq!(address_in("listening on the future"), None);
        assert_eq!(address_in("opened plugins/relational.wasm"), None);
    }
}
