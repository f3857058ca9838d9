use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use super::unprivileged::{command, output};

/// A PostgreSQL server, ended when it is dropped. Everyone is let in as `postgres`; the user `locked` needs the password
/// `secret`.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that tests share while any of them uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A new server. Returns once it lets clients in.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().expect("a temporary folder");
        let server = Self { folder, programs: programs(), databases: AtomicU32::new(0) };
        let mut initdb = server.command("initdb");
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
        let rules = server.path().join("data/pg_hba.conf");
        let others = std::fs::read_to_string(&rules).expect("initdb wrote it");
        std::fs::write(&rules, format!("local all locked scram-sha-256\n{others}")).expect("it is ours");
        server.launch();
        server.query("CREATE ROLE locked LOGIN PASSWORD 'secret'");
        server
    }

    /// The URL of a new, empty place in it.
    pub fn database(&self) -> String {
        // A schema is made much faster than a database, and holds as much.
        let schema = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query(&format!("CREATE SCHEMA {schema}"));
        format!("{}&options[search_path]={schema}", self.url("postgres"))
    }

    /// The URL for a user, who may have a password.
    pub fn url(&self, user: &str) -> String {
        format!("postgresql://{user}@localhost/postgres?host={}", self.path().display())
    }

    /// What a statement answers, a line a row.
    pub fn query(&self, statement: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--username=postgres", "--host"]);
        psql.arg(self.path()).args(["--command", statement, "postgres"]);
        output(&mut psql).trim().into()
    }

    /// Ends the server without a word to its clients.
    pub fn stop(&self) {
        output(self.control().args(["--mode=immediate", "stop"]));
    }

    /// Starts the server again.
    pub fn launch(&self) {
        let options = format!(
            "-k {} -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
             -c max_connections=200 -c autovacuum=off",
            self.path().display()
        );
        // What the server inherits, it keeps open: a pipe would never end.
        let mut start = self.control();
        start.args(["--wait", "--log=log", "--options", &options, "start"]);
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let log = || std::fs::read_to_string(self.path().join("log")).unwrap_or_default();
        assert!(status.as_ref().is_ok_and(|status| status.success()), "{start:?}: {status:?}\n{}", log());
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
        // It may have been stopped, or never started.
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
