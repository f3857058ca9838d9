use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::shared::Shared;

/// The version of the engine, as `xtask/src/clickhouse.rs` fetches it.
const VERSION: &str = "26.7.3-stable.1";

/// The users: `default` has no password, `locked` has `secret`; `reader` may only read, `strict` may not even change settings.
const USERS: &str = "<clickhouse><users>\
    <default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default>\
    <locked><password>secret</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></locked>\
    <reader><password></password><networks><ip>::/0</ip></networks><profile>reader</profile><quota>default</quota></reader>\
    <strict><password></password><networks><ip>::/0</ip></networks><profile>strict</profile><quota>default</quota></strict>\
    </users><profiles><default><compile_expressions>0</compile_expressions><compile_aggregate_expressions>0</compile_aggregate_expressions><compile_sort_description>0</compile_sort_description></default><reader><readonly>2</readonly></reader><strict><readonly>1</readonly></strict>\
    </profiles><quotas><default></default></quotas></clickhouse>";

/// A ClickHouse server, killed when it is dropped. `USERS` lists the users.
pub struct ClickHouse {
    folder: TempDir,
    http_port: u16,
    tcp_port: u16,
    process: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl ClickHouse {
    /// The server that tests share while any of them uses it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Shared<ClickHouse> = Shared::new();
        SHARED.get(Self::start)
    }

    /// A new server. Returns once it accepts clients.
    pub fn start() -> Self {
        let [server] = Self::start_cluster();
        server
    }

    /// Servers that are the shards of the cluster `cluster`.
    pub fn start_cluster<const SHARDS: usize>() -> [Self; SHARDS] {
        // The ports were free just now; another program may have taken one, so try others.
        let mut last = String::new();
        for _ in 0..10 {
            let servers = [(); SHARDS].map(|()| Self::prepare());
            let shards: String = servers
                .iter()
                .map(|server| {
                    let port = server.tcp_port;
                    format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>")
                })
                .collect();
            let started = servers.iter().try_for_each(|server| {
                server.configure(&shards);
                server.try_launch()
            });
            match started {
                Ok(()) => return servers,
                Err(said) => last = said,
            }
        }
        panic!("no ClickHouse server starts; the last one said:\n{last}")
    }

    fn prepare() -> Self {
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [http_port, tcp_port] = free.map(|listener| listener.local_addr().expect("it is bound").port());
        Self {
            folder: tempfile::Builder::new().prefix("clickhouse").tempdir().expect("a temporary folder"),
            http_port,
            tcp_port,
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
        }
    }

    fn configure(&self, shards: &str) {
        let users = self.path().join("users.xml");
        let config = format!(
            "<clickhouse><users_config>{}</users_config><remote_servers><cluster>{shards}</cluster></remote_servers>\
             <query_log><database>system</database><table>query_log</table></query_log></clickhouse>",
            users.display()
        );
        std::fs::write(users, USERS).expect("a folder of ours");
        std::fs::write(self.config(), config).expect("a folder of ours");
    }

    /// The name of a new, empty database in it.
    pub fn database(&self) -> String {
        let database = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query(&format!("CREATE DATABASE {database}"));
        database
    }

    /// Removes a database, so that the server does no more work for its tables.
    pub fn forget(&self, database: &str) {
        // If the server is gone, so is the database.
        let _ = self.ask(&format!("DROP DATABASE {database}"));
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// `HOST:PORT`, of HTTP.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// The result of a statement, one row per line.
    pub fn query(&self, statement: &str) -> String {
        self.ask(statement).unwrap_or_else(|error| panic!("{statement}: {error}")).trim_end().into()
    }

    /// The same, or the server's error.
    pub fn ask(&self, statement: &str) -> Result<String, String> {
        let said = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(self.address()).map_err(said)?;
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", statement.len());
        stream.write_all(&[head.as_bytes(), statement.as_bytes()].concat()).map_err(said)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(said)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("it hung up")?;
        if head.split(' ').nth(1) == Some("200") { Ok(body.into()) } else { Err(body.into()) }
    }

    /// Kills the server, as `kill -9` does.
    pub fn kill(&self) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut process) = process {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the server again, after it was killed.
    pub fn launch(&self) {
        self.try_launch().unwrap_or_else(|said| panic!("ClickHouse does not start again:\n{said}"));
    }

    /// Suspends the server until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Resumes the server.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill is there").success());
    }

    fn try_launch(&self) -> Result<(), String> {
        let said = self.path().join("said.log");
        let script = self.path().join("clickhouse.py");
        std::fs::write(&script, include_str!("clickhouse.py")).expect("a folder of ours");
        let process = Command::new("python3")
            .arg(script)
            .arg(library())
            .arg(self.path().join("data"))
            .args([self.http_port.to_string(), self.tcp_port.to_string()])
            .arg(self.config())
            .stdin(Stdio::piped())
            .stdout(File::create(&said).expect("a folder of ours"))
            .stderr(File::options().append(true).open(&said).expect("it is there"))
            .spawn()
            .unwrap_or_else(|error| panic!("python3 can't be started ({error}); install it: apt-get install python3"));
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        let deadline = Instant::now() + Duration::from_secs(60);
        let data = self.path().join("data");
        loop {
            // Another program may have taken the port.
            match self.ask("SELECT path FROM system.disks WHERE name = 'default'") {
                Ok(path) if Path::new(path.trim()) == data => return Ok(()),
                Ok(path) => return Err(format!("the port belongs to another server, in {path}")),
                Err(_) => {}
            }
            let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = process.as_mut().is_none_or(|process| process.try_wait().expect("it is ours").is_some());
            if ended || Instant::now() > deadline {
                return Err(std::fs::read_to_string(&said).unwrap_or_default());
            }
            drop(process);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn config(&self) -> PathBuf {
        self.path().join("config.xml")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.kill();
        // Removing thousands of small files takes minutes on some disks, so do not wait for it.
        if Command::new("rm").arg("-rf").arg(self.path()).spawn().is_ok() {
            self.folder.disable_cleanup(true);
        }
    }
}

/// The engine, in the user's cache folder or in `REFLOW_TEST_CACHE`.
fn library() -> PathBuf {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = folder("REFLOW_TEST_CACHE").unwrap_or_else(|| {
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        caches.expect("HOME is set").join("reflow-tracing-tests")
    });
    let library = cache.join(format!("clickhouse-{VERSION}")).join("libchdb.so");
    assert!(library.exists(), "ClickHouse is missing: {} is not there. Run `cargo xtask setup`", library.display());
    library
}
