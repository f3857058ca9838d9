use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tempfile::TempDir;

use super::shared::Shared;
use super::unprivileged::{command, output};

/// A MariaDB server, stopped when it is dropped. `root` needs no password; the user `locked` needs `secret`.
pub struct MariaDb {
    folder: TempDir,
    process: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl MariaDb {
    /// The server that tests share while any of them uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Shared<MariaDb> = Shared::new();
        SHARED.get(Self::start)
    }

    /// A new server. Returns once it accepts clients.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("maria").tempdir().expect("a temporary folder");
        let server = Self { folder, process: Mutex::default(), databases: AtomicU32::new(0) };
        let mut install = command(program("mariadb-install-db"), server.path());
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--datadir={}", server.path().join("data").display()));
        {
            // Several at a time run out of the kernel's asynchronous I/O.
            static INSTALLING: Mutex<()> = Mutex::new(());
            let _turn = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
            output(install.arg("--innodb-use-native-aio=0"));
        }
        server.launch();
        server.query("CREATE USER locked@localhost IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO locked@localhost");
        server
    }

    /// The URL of a new, empty database in it.
    pub fn database(&self) -> String {
        let database = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query(&format!("CREATE DATABASE {database}"));
        self.url("root", &database)
    }

    /// The URL for a user, with an optional password.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@localhost/{database}?socket={}", self.socket().display())
    }

    /// The result of a statement, one row per line.
    pub fn query(&self, statement: &str) -> String {
        let mut client = Command::new(program("mariadb"));
        client.args(["--no-defaults", "--user=root", "--batch", "--skip-column-names"]);
        client.arg(format!("--socket={}", self.socket().display())).args(["--execute", statement]);
        output(&mut client).trim().into()
    }

    /// Stops the server abruptly.
    pub fn stop(&self) {
        if let Some(mut process) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the server again.
    pub fn launch(&self) {
        let mut server = command(program("mariadbd"), self.path());
        server.args(["--no-defaults", "--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]);
        server.args(["--innodb-buffer-pool-size=128M", "--innodb-log-file-size=32M", "--max-connections=200"]);
        server.arg(format!("--datadir={}", self.path().join("data").display()));
        server.arg(format!("--socket={}", self.socket().display()));
        server.arg(format!("--pid-file={}", self.path().join("pid").display()));
        let mut process =
            server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let log = process.stderr.take().expect("it is piped");
        let (ready, is_ready) = mpsc::channel();
        // Keeps reading after the start, or the server would block on its log.
        thread::spawn(move || {
            let mut said = String::new();
            let mut ready = Some(ready);
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if line.contains("ready for connections") {
                    ready.take().map(|ready| ready.send(Ok(())));
                } else if ready.is_some() {
                    said.push_str(&line);
                    said.push('\n');
                }
            }
            ready.map(|ready| ready.send(Err(said)));
        });
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        if let Ok(Err(said)) = is_ready.recv() {
            panic!("MariaDB ended:\n{said}");
        }
    }

    fn socket(&self) -> PathBuf {
        self.path().join("socket")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program(name: &str) -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    // Debian installs servers outside the PATH of ordinary users.
    let folders = std::env::split_paths(&on_path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("{name} is missing: run `apt-get install mariadb-server`, or `cargo xtask setup`"))
}
