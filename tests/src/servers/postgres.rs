use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::shared::Shared;
use super::unprivileged::{command, give, output};

/// A PostgreSQL server, stopped when it is dropped. The user `postgres` needs no password; `locked` needs
/// the password `secret`.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    /// How it is started.
    options: String,
    /// Of its Unix socket too.
    port: u16,
    databases: AtomicU32,
}

/// Fast, and safe enough for tests: a commit is acknowledged before it is on disk.
const HASTY: &str =
    "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c autovacuum=off";

/// An unused port number: each server has its Unix socket in its own folder.
const NO_PORT: u16 = 5432;

impl Postgres {
    /// The server that tests share while any of them uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Shared<Postgres> = Shared::new();
        SHARED.get(Self::start)
    }

    /// A new server. Returns once it accepts clients.
    pub fn start() -> Self {
        Self::start_with(HASTY)
    }

    /// A new server with PostgreSQL's default settings.
    pub fn as_it_comes() -> Self {
        Self::start_with("")
    }

    /// A new server that listens on a free port too, at 127.0.0.1, 127.0.0.2 and ::1. With a certificate and its key, it speaks TLS there and nothing else.
    pub fn on_port(tls: Option<[&Path; 2]>) -> Self {
        let port =
            || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let ssl = if tls.is_some() { "on" } else { "off" };
        let mut server = Self::new(format!("{HASTY} -c ssl={ssl} -c listen_addresses=127.0.0.1,127.0.0.2,::1"));
        server.initialise();
        if let Some([certificate, key]) = tls {
            let data = server.path().join("data");
            give(certificate, &data.join("server.crt"));
            give(key, &data.join("server.key"));
            std::fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all all trust\n")
                .expect("it is ours");
        }
        // Another program may take the port first.
        let started = (0..10).any(|_| {
            server.port = port();
            server.try_launch()
        });
        assert!(started, "PostgreSQL finds no port to listen on:\n{}", server.log());
        server
    }

    /// A replica of this server.
    pub fn replica(&self) -> Self {
        let replica = Self::new(self.options.clone());
        let mut copy = replica.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--username=postgres", "--pgdata=data"]);
        output(copy.arg("--host").arg(self.path()).args(["--port", &self.port.to_string()]));
        replica.launch();
        replica
    }

    fn start_with(options: &str) -> Self {
        let server = Self::new(options.into());
        server.initialise();
        server.launch();
        server.query("CREATE ROLE locked LOGIN PASSWORD 'secret'");
        server
    }

    fn new(options: String) -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().expect("a temporary folder");
        Self { folder, programs: programs(), options, port: NO_PORT, databases: AtomicU32::new(0) }
    }

    fn initialise(&self) {
        let mut initdb = self.command("initdb");
        initdb.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
            "data",
        ]);
        output(&mut initdb);
        let rules = self.path().join("data/pg_hba.conf");
        let others = std::fs::read_to_string(&rules).expect("initdb wrote it");
        std::fs::write(&rules, format!("local all locked scram-sha-256\n{others}")).expect("it is ours");
    }

    /// The URL of a new, empty schema.
    pub fn database(&self) -> String {
        // Creating a schema is much faster than creating a database.
        let schema = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query(&format!("CREATE SCHEMA {schema}"));
        format!("{}&options[search_path]={schema}", self.url("postgres"))
    }

    /// The URL for a user, with an optional password.
    pub fn url(&self, user: &str) -> String {
        format!("postgresql://{user}@localhost:{}/postgres?host={}", self.port, self.path().display())
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.path()
    }

    /// The port of one that has one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The result of a statement, one row per line.
    pub fn query(&self, statement: &str) -> String {
        output(self.psql().args(["--command", statement])).trim().into()
    }

    /// Runs the statements of a file, each in its own transaction.
    pub fn run(&self, file: &Path) {
        output(self.psql().args(["--set=ON_ERROR_STOP=1", "--file"]).arg(file));
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--username=postgres",
            "--dbname=postgres",
        ]);
        psql.arg("--host").arg(self.path()).args(["--port", &self.port.to_string()]);
        psql
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Stops the server abruptly.
    pub fn stop(&self) {
        output(self.control().args(["--mode=immediate", "stop"]));
    }

    /// Starts the server again.
    pub fn launch(&self) {
        assert!(self.try_launch(), "PostgreSQL does not start:\n{}", self.log());
    }

    fn try_launch(&self) -> bool {
        // The later of two values for a setting applies.
        let options = format!("-c listen_addresses='' -k {} -p {} {}", self.path().display(), self.port, self.options);
        // The server keeps inherited handles open, so a pipe would never close.
        let mut start = self.control();
        start.args(["--wait", "--log=log", "--options", &options, "start"]);
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.unwrap_or_else(|error| panic!("{start:?} did not start: {error}")).success()
    }

    fn control(&self) -> Command {
        let mut control = self.command("pg_ctl");
        control.args(["--silent", "-D", "data"]);
        control
    }

    fn command(&self, program: &str) -> Command {
        command(self.programs.join(program), self.path())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be stopped already, or never have started.
        let _ = self.control().args(["--mode=immediate", "stop"]).stderr(Stdio::null()).status();
    }
}

/// The folder of the newest server's programs: Debian does not put them on the PATH.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.flatten().map(|version| version.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    let found = folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("psql").exists());
    found.unwrap_or_else(|| panic!("PostgreSQL is missing: run `apt-get install postgresql`, or `cargo xtask setup`"))
}
