use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A new, empty Redis server in a temporary folder, killed when it is dropped.
pub struct RedisServer {
    process: Child,
    folder: TempDir,
    options: Vec<String>,
    port: u16,
}

impl RedisServer {
    /// Starts a server that keeps everything in memory and listens on a Unix socket.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with options of `redis-server`.
    pub fn start_with(options: &[&str]) -> Self {
        // A socket instead of a port: another test can't take it.
        Self::try_start(options, 0).unwrap_or_else(|log| panic!("redis-server ended at once:\n{log}"))
    }

    /// Starts a server that also listens on a free port.
    pub fn start_on_port(options: &[&str]) -> Self {
        Self::try_ports(|port| Self::try_start(options, port))
    }

    /// Starts a server that listens on a free port, for TLS only, with this certificate and key.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        let path = |file: &Path| file.to_str().expect("a path of ours").to_owned();
        let (certificate, key) = (path(certificate), path(key));
        Self::try_ports(|port| {
            let tls = ["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
            let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
            let mut server = Self::try_start(&[&tls[..], &files].concat(), 0)?;
            server.port = port;
            Ok(server)
        })
    }

    /// Starts on a port that was free just now. If another program has taken it, tries another port.
    fn try_ports(start: impl Fn(u16) -> Result<Self, String>) -> Self {
        let mut logs = String::new();
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            drop(listener);
            match start(port) {
                Ok(server) => return server,
                Err(log) => logs += &log,
            }
        }
        panic!("redis-server finds no port to listen on:\n{logs}")
    }

    /// Fails with the server's log when the server has ended.
    fn try_start(options: &[&str], port: u16) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<_> = options.iter().map(|option| option.to_string()).collect();
        let mut server = Self { process: spawn(&folder, &options, port), folder, options, port };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Whether it has loaded its data and answers, even if only to ask for a password.
    fn answers(&self) -> bool {
        let ping = || {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        ping().is_ok_and(|answer| answer.starts_with("+PONG") || answer.starts_with("-NOAUTH"))
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.answers() {
            if self.process.try_wait().expect("it is ours").is_some() {
                return Err(std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default());
            }
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Kills the server, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
        // A killed server must not look available.
        let _ = std::fs::remove_file(self.socket());
    }

    /// Starts the server again in its folder, after it was killed.
    pub fn start_again(&mut self) {
        self.process = spawn(&self.folder, &self.options, self.port);
        self.wait_until_it_answers().unwrap_or_else(|log| panic!("redis-server ended at once:\n{log}"));
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The URL over TCP. Only for a server that listens on a port.
    pub fn tcp_url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    /// `HOST:PORT`. Only for a server that listens on a port.
    pub fn address(&self) -> String {
        assert_ne!(self.port, 0, "it listens on no port");
        format!("127.0.0.1:{}", self.port)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }
}

/// The file that a server writes its log to, in its folder.
const LOG: &str = "redis.log";

fn spawn(folder: &TempDir, options: &[String], port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(folder.path().join("redis.sock"))
        .args(["--logfile", LOG])
        .args(options)
        .current_dir(folder)
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("redis-server can't be started ({error}); install it: apt-get install --yes redis-server")
        })
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
