//! TLS, as `sslmode` and `sslrootcert` of the URL want it.

use std::path::{Path, PathBuf};
use std::process::Command;

use reflow_tracing::storage::{PostgresConfig, PostgresStorage, StorageBackend, StorageError};

use super::{config, trace};
use crate::servers::Postgres;

/// A folder with certificates and their keys.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes `NAME.pem` and `NAME.key`: with `more` arguments, of OpenSSL's `req`.
    fn make(&self, name: &str, more: &[&str]) -> PathBuf {
        let (certificate, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        let mut openssl = Command::new("openssl");
        openssl.current_dir(self.0.path());
        openssl
            .args(["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj"])
            .arg(format!("/CN={name}"));
        openssl.args(more).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        let made = openssl.output().expect("openssl can't be started; install it: apt-get install --yes openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        certificate
    }

    /// Of a server that is reached as `localhost`.
    fn of_localhost(&self, signed_by: Option<&str>) -> PathBuf {
        let extensions =
            ["-addext", "basicConstraints = critical, CA:FALSE", "-addext", "subjectAltName = DNS:localhost"];
        let ca = signed_by.map(|ca| [format!("{ca}.pem"), format!("{ca}.key")]);
        let signer = ca.iter().flat_map(|[certificate, key]| ["-CA", certificate, "-CAkey", key]);
        self.make("server", &extensions.into_iter().chain(signer).collect::<Vec<_>>())
    }
}

fn url(server: &Postgres, host: &str, mode: &str, root: Option<&Path>) -> String {
    let root = root.map(|root| format!("&sslrootcert={}", root.display())).unwrap_or_default();
    format!("postgresql://postgres:hidden@{host}:{}/postgres?sslmode={mode}{root}", server.port())
}

async fn open(server: &Postgres, url: String) -> Result<PostgresStorage, StorageError> {
    PostgresStorage::with_config(PostgresConfig { connection_url: url, ..config(server) }).await
}

/// Opens the store, and sees that it works over TLS.
#[track_caller]
fn assert_works(server: &Postgres, opened: Result<PostgresStorage, StorageError>) -> PostgresStorage {
    let storage = opened.unwrap();
    let sessions = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE application_name = 'reflow-tracing'";
    assert_ne!(server.query(sessions), "f");
    storage
}

/// What the refusal says, which is a matter of the configuration.
#[track_caller]
fn refusal(opened: Result<PostgresStorage, StorageError>) -> String {
    match opened.err().expect("it must not open") {
        StorageError::Configuration(message) => {
            assert!(!message.contains("hidden"), "{message}");
            message
        }
        other => panic!("expected a matter of configuration, found {other:?}"),
    }
}

#[tokio::test]
async fn a_server_is_verified_as_the_url_requires() {
    let certificates = Certificates::new();
    let (ours, other) = (certificates.make("ours", &[]), certificates.make("other", &[]));
    let certificate = certificates.of_localhost(Some("ours"));
    let server = Postgres::on_port(Some([&certificate, &certificates.file("server.key")]));
    for (host, mode, root) in [
        ("localhost", "verify-full", Some(&ours)),
        ("localhost", "verify-ca", Some(&ours)),
        // Another name for it, which the certificate does not have.
        ("127.0.0.1", "verify-ca", Some(&ours)),
        ("127.0.0.1", "require", None),
        ("127.0.0.1", "prefer", None),
    ] {
        let opened = open(&server, url(&server, host, mode, root.map(PathBuf::as_path))).await;
        let storage = assert_works(&server, opened);
        let stored = trace(chrono::Utc::now());
        storage.store_trace(stored.clone()).await.unwrap();
        assert_eq!(storage.get_trace(stored.trace_id).await.unwrap(), Some(stored));
        storage.close().await.unwrap();
    }
    for (host, mode, root) in [
        ("127.0.0.1", "verify-full", Some(&ours)),
        ("localhost", "verify-full", Some(&other)),
        ("localhost", "verify-ca", Some(&other)),
        ("localhost", "verify-full", None),
        ("localhost", "verify-ca", None),
    ] {
        let message = refusal(open(&server, url(&server, host, mode, root.map(PathBuf::as_path))).await);
        assert!(message.contains("TLS") && message.contains("`sslrootcert`"), "{host} {mode}: {message}");
    }
    // The server lets nobody in without TLS.
    let message = refusal(open(&server, url(&server, "localhost", "disable", None)).await);
    assert!(message.contains("no encryption"), "{message}");
    let missing = certificates.file("nothing.pem");
    let message = refusal(open(&server, url(&server, "localhost", "verify-full", Some(&missing))).await);
    assert!(message.contains("nothing.pem") || message.contains("`sslrootcert`"), "{message}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_own_root() {
    let certificates = Certificates::new();
    let certificate = certificates.of_localhost(None);
    let server = Postgres::on_port(Some([&certificate, &certificates.file("server.key")]));
    let opened = open(&server, url(&server, "localhost", "verify-full", Some(&certificate))).await;
    assert_works(&server, opened);
    let message = refusal(open(&server, url(&server, "localhost", "verify-full", None)).await);
    assert!(message.contains("`sslrootcert`"), "{message}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_the_url_requires_it() {
    let server = Postgres::on_port(None);
    for mode in ["require", "verify-full"] {
        let message = refusal(open(&server, url(&server, "localhost", mode, None)).await);
        assert!(message.contains("TLS") && message.contains("`sslmode`"), "{message}");
    }
    open(&server, url(&server, "localhost", "prefer", None)).await.unwrap();
}
