//! `cargo xtask run`: what the product is for, start to end. A host that keeps traces in a plugin takes a recorded Reflow
//! session, and the traces are queried.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};

use crate::process::Guarded;
use crate::{plugins, process, test, workspace};

/// The plugin that keeps the traces. It is the only one that is built, because the first run should be short.
const PLUGIN: &str = "relational";
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
    plugins::main(&[PLUGIN.to_owned()])?;
    test::build_host()?;
    prepare()?;

    let binary = workspace::host_binary();
    let (mut host, url) = Host::start(&binary)?;
    let client = |arguments: &[&str]| process::run_within(CLIENT_LIMIT, Command::new(&binary).args(arguments));
    client(&["replay", SESSION, "--url", &url])
        .and_then(|()| client(&["query", "--config", CONFIG]))
        .map_err(|error| host.explain(error))?;
    host.stop()?;

    let binary = binary.display();
    println!(
        "
The traces are in {FOLDER}/{DATABASE}. What to try next:
  # the traces as JSON, and one of them with its events
  {binary} query --config {CONFIG} --format json
  {binary} get TRACE_ID --config {CONFIG}
  # the host again: give the address that it prints to a Reflow program, as `server_url` of its `TracingConfig`
  {binary} serve --config {CONFIG}
  # the same without a plugin: `backend = \"sqlite\"` in {CONFIG}"
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

/// The running host.
struct Host(Guarded);

impl Host {
    /// Starts the host and waits until it takes connections; returns its address too. What it prints is passed on.
    fn start(binary: &Path) -> Result<(Self, String)> {
        let mut command = Command::new(binary);
        command.args(["serve", "--config", CONFIG]).stdin(Stdio::null()).stdout(Stdio::piped());
        println!("$ {} serve --config {CONFIG} &", binary.display());
        let mut host = Guarded::spawn(&mut command)?;

        let stdout = host.stdout().context("the host has no stdout")?;
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
            Ok(address) => Ok((Self(host), address)),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the host did not print `{READY}ws://..` within {} s", READY_LIMIT.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => match host.wait_within(STOP_LIMIT)? {
                Some(status) => bail!("the host ended with {status} before it was ready; see its output above"),
                None => bail!("the host closed its stdout before it was ready"),
            },
        }
    }

    /// A client's error, with the host's end where that is the cause.
    fn explain(&mut self, error: Error) -> Error {
        match self.0.wait_within(Duration::ZERO) {
            Ok(Some(status)) => error.context(format!("the host ended on its own with {status}")),
            _ => error,
        }
    }

    /// Ends the host as a service manager would, and fails when it does not end well.
    fn stop(mut self) -> Result<()> {
        if let Some(status) = self.0.wait_within(Duration::ZERO)? {
            bail!("the host ended on its own with {status}");
        }
        self.0.terminate()?;
        let status = self.0.wait_within(STOP_LIMIT)?;
        let status = status.with_context(|| format!("the host did not stop within {} s", STOP_LIMIT.as_secs()))?;
        // Where it can't be asked to stop, it can't end well.
        ensure!(status.success() || cfg!(not(unix)), "the host stopped with {status}");
        Ok(())
    }
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
