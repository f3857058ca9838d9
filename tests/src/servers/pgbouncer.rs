use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::postgres::Postgres;
use super::unprivileged::command;

/// PgBouncer before a PostgreSQL server, killed when it is dropped.
pub struct PgBouncer {
    folder: TempDir,
    process: Child,
}

impl PgBouncer {
    /// Starts it with this `pool_mode`, before the server's only database.
    pub fn start(server: &Postgres, pool_mode: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("bouncer").tempdir().expect("a temporary folder");
        let path = folder.path().display();
        let upstream =
            format!("host={} port={} dbname=postgres user=postgres", server.socket_folder().display(), server.port());
        let configuration = format!(
            "[databases]\npostgres = {upstream}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {path}\n\
             auth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = 20\nmax_client_conn = 100\n"
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), configuration).expect("a file of our own");
        let mut bouncer = command(program(), folder.path());
        bouncer.args(["--quiet", "pgbouncer.ini"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = bouncer.spawn().expect("it starts");
        let socket = folder.path().join(".s.PGSQL.6432");
        let patience = Instant::now() + Duration::from_secs(30);
        while !socket.exists() {
            assert!(Instant::now() < patience, "PgBouncer does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { folder, process }
    }

    /// The URL of the database behind it, for the user `postgres`.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@localhost:6432/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&on_path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.find_map(|folder| Some(folder.join("pgbouncer")).filter(|file: &PathBuf| file.exists()));
    found.unwrap_or_else(|| panic!("pgbouncer is missing: run `apt-get install pgbouncer`, or `cargo xtask setup`"))
}
