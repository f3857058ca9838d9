use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A private certificate authority, in a temporary folder.
pub struct Authority {
    folder: TempDir,
}

/// A certificate and its key, in PEM.
pub struct Certificate {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority.
    pub fn new() -> Self {
        let authority = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let mut new = authority.openssl("req -x509 -nodes -days 1 -subj /CN=authority");
        new.args(EC_KEY).args(["-addext", "keyUsage = critical, keyCertSign"]);
        run(new.arg("-keyout").arg(authority.path("ca.key")).arg("-out").arg(authority.certificate()));
        authority
    }

    /// The file of its own certificate, in PEM, for clients that trust it.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Issues a certificate for `names`, in the syntax of openssl: `IP:127.0.0.1`.
    pub fn issue(&self, names: &str) -> Certificate {
        let [key, request, certificate] = ["key.pem", "request.pem", "certificate.pem"].map(|name| self.path(name));
        let mut new = self.openssl("req -nodes -subj /CN=server");
        new.args(EC_KEY).args(["-addext", &format!("subjectAltName = {names}")]);
        run(new.arg("-keyout").arg(&key).arg("-out").arg(&request));
        let mut sign = self.openssl("x509 -req -days 1 -copy_extensions copy -CAcreateserial");
        sign.arg("-CA").arg(self.certificate()).arg("-CAkey").arg(self.path("ca.key"));
        run(sign.arg("-in").arg(&request).arg("-out").arg(&certificate));
        Certificate { certificate, key }
    }

    fn openssl(&self, arguments: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(&self.folder);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A kind of key that is generated quickly.
const EC_KEY: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| {
        panic!("openssl can't be started ({error}); install it: apt-get install --yes openssl")
    });
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
