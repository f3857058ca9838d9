use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Certificate;

/// The OCI registry of the CNCF (`docker-registry`), empty, in a temporary folder, killed when it is dropped.
pub struct Registry {
    process: Child,
    _folder: TempDir,
    /// The TCP port that it listens on.
    pub port: u16,
}

impl Registry {
    /// The name and the password of a registry with users.
    pub const USER: [&str; 2] = ["ann", "a secret"];
    /// The same for the server: bcrypt.
    const USERS: &str = "ann:$2b$04$voa5wgEnKXtuK7R5EoMnhO1R3gjHm6/Uar5AHIg76Ucw7Vgk5MLee\n";

    /// A registry for everybody on this machine.
    pub fn start() -> Self {
        Self::start_with("http: { addr: 127.0.0.1:0 }", |_| String::new())
    }

    /// A registry that asks for the name and the password.
    pub fn start_with_users() -> Self {
        Self::start_with("http: { addr: 127.0.0.1:0 }", |folder| {
            let users = folder.join("users");
            fs::write(&users, Self::USERS).expect("a file of our own");
            format!("auth: {{ htpasswd: {{ realm: tests, path: {} }} }}", users.display())
        })
    }

    /// A registry on all addresses, over TLS.
    pub fn start_with_tls(Certificate { certificate, key }: &Certificate) -> Self {
        let files = format!("certificate: {}, key: {}", certificate.display(), key.display());
        Self::start_with(&format!("http: {{ addr: \"0.0.0.0:0\", tls: {{ {files} }} }}"), |_| String::new())
    }

    fn start_with(http: &str, more: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [config, log] = ["config.yml", "log"].map(|name| folder.path().join(name));
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }} }}\n{http}\n{}\n",
            data.display(),
            more(folder.path())
        );
        fs::write(&config, text).expect("a file of our own");
        let file = fs::File::create(&log).expect("a file of our own");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let mut process = command.spawn().expect("docker-registry is installed");
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if let Some(port) = port(&said) {
                return Self { process, _folder: folder, port };
            }
            let ended = process.try_wait().expect("it is ours").is_some();
            assert!(!ended && Instant::now() < deadline, "docker-registry does not listen:\n{said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The port in the message that it listens.
fn port(log: &str) -> Option<u16> {
    let address = log.split_once("msg=\"listening on ")?.1.split(['"', ',']).next()?;
    address.rsplit(':').next()?.parse().ok()
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
