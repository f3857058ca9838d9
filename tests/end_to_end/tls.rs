//! TLS to servers with certificates of a private authority, which only the grant that names it trusts.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use axum::serve::Listener;
use reflow_tracing::plugin::{Grants, HttpGrant, PluginBackend, PluginConfig, RedisGrant};
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowId, FlowTrace, FlowVersion};
use reflow_tracing_tests::servers::{Authority, Certificate, RedisServer};
use reflow_tracing_tests::{Backend, Host, Setting, plugin};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

use crate::probe::Probe;

fn redis_of(authority: &Authority) -> RedisServer {
    let Certificate { certificate, key } = authority.issue("IP:127.0.0.1");
    RedisServer::start_with_tls(&certificate, &key)
}

async fn redis(url: String, ca: Option<&Path>) -> Result<PluginBackend, StorageError> {
    let grant = RedisGrant { url, ca: ca.map(Path::to_owned), ..RedisGrant::default() };
    let grants = Grants { redis: [("default".into(), grant)].into(), ..Grants::default() };
    PluginBackend::load("redis", &plugin("redis"), &PluginConfig { grants, ..PluginConfig::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_server_is_trusted_when_the_grant_names_its_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = redis_of(&authority);
    let url = format!("rediss://{}/0", server.address());
    let backend = redis(url.clone(), Some(&authority.certificate())).await.expect("it opens");
    let stored = FlowTrace::new(FlowId::new("f"), FlowVersion::default());
    backend.store_trace(stored.clone()).await.expect("stored");
    assert!(backend.get_trace(stored.trace_id).await.expect("read") == Some(stored));
    for (url, ca) in [
        (url.clone(), None),
        (url.clone(), Some(other.certificate())),
        // The certificate is for the address alone.
        (url.replace("127.0.0.1", "localhost"), Some(authority.certificate())),
    ] {
        let refused = redis(url, ca.as_deref()).await.err().expect("it does not open").to_string();
        assert!(refused.contains("plugins.redis.grants.redis.default"), "{refused}");
        assert!(refused.contains("invalid peer certificate"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_authority_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    std::fs::write(&empty, "").expect("a file of ours");
    for (url, ca, reason) in [
        ("rediss://127.0.0.1:1", &missing, "missing.pem: can't read it"),
        ("rediss://127.0.0.1:1", &empty, "it has no certificate"),
        ("redis://127.0.0.1:1", &empty, "`ca` needs TLS"),
    ] {
        let error = redis(url.into(), Some(ca)).await.err().expect("it does not open");
        let message = error.to_string();
        assert!(matches!(error, StorageError::Configuration(_)) && message.contains(reason), "{message}");
        let bucket = format!("{url}?ca={}", ca.display());
        let grants = Grants { keyvalue: [("b".into(), bucket)].into(), ..Grants::default() };
        let config = PluginConfig { grants, ..PluginConfig::default() };
        let message = PluginBackend::load("redis", &plugin("redis"), &config).await.err().expect("none").to_string();
        assert!(message.contains("plugins.redis.grants.keyvalue.b") && message.contains(reason), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_trusted_when_the_grant_names_its_authority() {
    let authority = Authority::new();
    let server = redis_of(&authority);
    let ask = async |options: &str| {
        let url = format!("rediss://{}/0{options}", server.address());
        let grants = Grants { keyvalue: [("b".into(), url)].into(), ..Grants::default() };
        let probe = Probe::load(PluginConfig { grants, ..PluginConfig::default() }).await;
        probe.try_ask("keyvalue-set", &[("label", "b"), ("key", "k")]).await
    };
    let trusted = ask(&format!("?ca={}&prefix=mine:", authority.certificate().display())).await;
    assert!(matches!(trusted, StorageError::NotFound(_)), "{trusted}");
    let refused = ask("").await;
    assert!(matches!(refused, StorageError::Unavailable(_)), "{refused}");
}

/// Accepts TLS connections, and ignores those that fail.
struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, address) = self.tcp.accept().await.expect("a connection");
            if let Ok(tls) = self.tls.accept(tcp).await {
                return (tls, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// A listener with this certificate, and its port.
async fn tls_listener(certificate: &Certificate) -> (TlsListener, u16) {
    let chain = CertificateDer::pem_file_iter(&certificate.certificate).expect("a file");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .expect("they belong together");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = tcp.local_addr().expect("it is bound").port();
    (TlsListener { tcp, tls: TlsAcceptor::from(Arc::new(config)) }, port)
}

/// Starts a server that says hello. Returns its port. It stops with the test.
async fn https(certificate: &Certificate) -> u16 {
    let (listener, port) = tls_listener(certificate).await;
    let router = Router::new().route("/", get(async || "hello")).route("/large", get(async || "x".repeat(300_000)));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_server_is_trusted_when_the_grant_names_its_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = https(&authority.issue("IP:127.0.0.1,DNS:localhost")).await;
    let ask = async |host: &str, path: &str, ca: Option<&Path>| {
        let grant =
            HttpGrant { origin: format!("https://{host}:{port}"), ca: ca.map(Path::to_owned), ..HttpGrant::default() };
        let grants = Grants { http: vec!["https://api.example.com".into(), grant], ..Grants::default() };
        let probe = Probe::load(PluginConfig { grants, ..PluginConfig::default() }).await;
        let authority = format!("{host}:{port}");
        probe.ask("http", &[("authority", &authority), ("scheme", "https"), ("path", path)]).await
    };
    let ca = authority.certificate();
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(ask(host, "/", Some(&ca)).await, "200 hello");
    }
    assert_eq!(ask("localhost", "/large", Some(&ca)).await, "200 300000 bytes");
    for ca in [None, Some(other.certificate())] {
        let refused = ask("localhost", "/", ca.as_deref()).await;
        assert!(refused.contains("TlsCertificateError"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let port = https(&authority.issue("DNS:elsewhere.example")).await;
    let grant = HttpGrant {
        origin: format!("https://localhost:{port}"),
        ca: Some(authority.certificate()),
        ..HttpGrant::default()
    };
    let grants = Grants { http: vec![grant], ..Grants::default() };
    let probe = Probe::load(PluginConfig { grants, ..PluginConfig::default() }).await;
    let address = format!("localhost:{port}");
    let refused = probe.ask("http", &[("authority", &address), ("scheme", "https")]).await;
    assert!(refused.contains("TlsCertificateError"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_behind_a_proxy_with_tls_is_asked_over_wss() {
    let authority = Authority::new();
    let (mut listener, port) = tls_listener(&authority.issue("DNS:localhost")).await;
    let setting = Setting::new(Backend::Sqlite);
    let host = Host::start(&setting);
    let address = host.url.strip_prefix("ws://").expect("it is a WebSocket's").to_owned();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await;
            let mut host = TcpStream::connect(&address).await.expect("the host listens");
            // It ends with the connection.
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut host).await });
        }
    });
    let ask = |url: String, ca: &Path| {
        let mut command = setting.command(&["query", "--server", &url]);
        command.env("SSL_CERT_FILE", ca).env_remove("SSL_CERT_DIR").output().expect("the program starts")
    };
    let answer = ask(format!("wss://localhost:{port}"), &authority.certificate());
    assert!(answer.status.success(), "{answer:?}");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "0 traces\n");
    let other = Authority::new();
    for (url, ca) in [(format!("wss://localhost:{port}"), &other), (format!("wss://127.0.0.1:{port}"), &authority)] {
        let refused = ask(url, &ca.certificate());
        let message = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && message.contains("invalid peer certificate"), "{message}");
        assert!(message.contains("SSL_CERT_FILE"), "{message}");
    }
}
