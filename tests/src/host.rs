use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use reflow_tracing_protocol::FlowTrace;
use tempfile::TempDir;

#[cfg(unix)]
use crate::servers::{ClickHouse, Postgres};
use crate::{host_program, plugin, test_plugin};

/// A backend that a host is configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The built-in default.
    Sqlite,
    /// The plugin `relational`, on a SQLite file.
    Relational,
    /// The plugin `hostile`, which misbehaves on demand.
    Hostile,
}

impl Backend {
    /// Every backend that survives its process.
    pub const DURABLE: [Self; 2] = [Self::Sqlite, Self::Relational];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Relational => "relational",
            Self::Hostile => "hostile",
        }
    }
}

/// A folder with a configuration that describes every backend and chooses one.
pub struct Setting {
    folder: TempDir,
}

impl Setting {
    /// A new folder with nothing in it.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A new folder, whose configuration chooses `backend`.
    pub fn new(backend: Backend) -> Self {
        let setting = Self::empty();
        let plugins = setting.path().join("plugins");
        fs::create_dir(&plugins).expect("a new folder");
        for (file, name) in [(plugin("relational"), "relational.wasm"), (test_plugin("hostile"), "hostile.wasm")] {
            fs::copy(file, plugins.join(name)).expect("a copy of the plugin");
        }
        setting.choose(backend);
        setting
    }

    /// A new folder, whose configuration chooses a database that nothing else uses.
    #[cfg(unix)]
    pub fn on_postgres(server: &Postgres) -> Self {
        Self::with_storage("postgres", &format!("connection_url = \"{}\"", server.url("postgres")))
    }

    /// The same.
    #[cfg(unix)]
    pub fn on_clickhouse(server: &ClickHouse) -> Self {
        let settings = format!("url = \"{}\"\ndatabase = \"{}\"", server.url(), server.database());
        Self::with_storage("clickhouse", &settings)
    }

    #[cfg(unix)]
    fn with_storage(backend: &str, settings: &str) -> Self {
        let setting = Self::new(Backend::Sqlite);
        setting.write(&format!(
            "[server]\nport = 0\n[storage]\nbackend = \"{backend}\"\n[storage.{backend}]\n{settings}\n"
        ));
        setting
    }

    /// Rewrites the one line of the configuration that names the backend.
    pub fn choose(&self, backend: Backend) {
        let text = format!(
            "[server]\nport = 0\n\n[storage]\nbackend = \"{}\"\n\n[plugins.relational]\n\
             grants = {{ sql = {{ default = \"sqlite:relational.db\" }} }}\nlimits = {{ call_timeout_ms = 60000 }}\n\n\
             [plugins.hostile]\nlimits = {{ memory_mb = 32, call_timeout_ms = 1000 }}\n",
            backend.name()
        );
        self.write(&text);
    }

    /// Replaces the whole configuration.
    pub fn write(&self, text: &str) {
        fs::write(self.path().join("reflow_tracing.toml"), text).expect("a file of our own");
    }

    /// The working folder of the host.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command that runs the program in this folder, with an empty environment. Compiled plugins are cached in the build's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_program());
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env("XDG_CACHE_HOME", host_program().with_file_name("compiled-plugins"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REFLOW_TRACING_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// What the program prints with these arguments. Panics when it fails.
    pub fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the program prints UTF-8")
    }

    /// The error of the program with these arguments. Panics when it succeeds.
    pub fn failure(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).expect("the program prints UTF-8")
    }

    /// All stored traces, parsed with Reflow's own types.
    pub fn traces(&self) -> Vec<FlowTrace> {
        serde_json::from_str(&self.stdout(&["query", "--format", "json"])).expect("an array of traces")
    }
}

/// A running host, killed when it is dropped.
pub struct Host {
    process: Child,
    /// `ws://HOST:PORT`.
    pub url: String,
    log: PathBuf,
}

impl Host {
    /// Starts a host and waits until it listens.
    pub fn start(setting: &Setting) -> Self {
        let log = fs::File::create(setting.path().join("host.log")).expect("a file of our own");
        Self::start_with_stderr(setting, log.into())
    }

    /// The same, with another destination for its log.
    pub fn start_with_stderr(setting: &Setting, stderr: Stdio) -> Self {
        Self::start_with(setting, &[], stderr)
    }

    /// Starts a host with these environment variables and waits until it listens.
    pub fn start_with_variables(setting: &Setting, variables: &[(&str, &str)]) -> Self {
        let log = fs::File::create(setting.path().join("host.log")).expect("a file of our own");
        Self::start_with(setting, variables, log.into())
    }

    fn start_with(setting: &Setting, variables: &[(&str, &str)], stderr: Stdio) -> Self {
        let log: PathBuf = setting.path().join("host.log");
        let mut command = setting.command(&["serve"]);
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(stderr);
        let mut process = command.spawn().expect("the program starts");
        let stdout = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("the host prints UTF-8");
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            let said = fs::read_to_string(&log).unwrap_or_default();
            panic!("the host did not say where it listens, but {line:?}; its log:\n{said}");
        };
        Self { process, url: url.into(), log }
    }

    /// The number of its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The status and the body of the answer to `GET path`.
    pub fn get(&self, path: &str) -> (u16, String) {
        Self::get_from(self.url.strip_prefix("ws://").expect("it is a WebSocket's"), path)
    }

    /// The same from another `HOST:PORT`.
    pub fn get_from(address: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).expect("the host listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {head}")), body.to_owned())
    }

    /// The log of the host so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("it is there")
    }

    /// Kills the host at once, as `kill -9` does.
    pub fn kill(mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }

    /// Asks the host to stop, as a service manager does.
    #[cfg(unix)]
    pub fn terminate(&self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(sent.success());
    }

    /// Stops the host as a service manager does. Panics when it fails.
    #[cfg(unix)]
    pub fn stop(self) {
        self.terminate();
        self.wait();
    }

    /// Waits until the host ends. Panics when it fails.
    #[cfg(unix)]
    pub fn wait(mut self) {
        let status = self.process.wait().expect("it is ours");
        assert!(status.success(), "the host ended with {status}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
