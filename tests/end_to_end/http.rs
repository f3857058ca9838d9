//! HTTP requests of a plugin: only to granted origins.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use reflow_tracing::plugin::{Grants, HttpGrant, Limits, PluginConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::probe::Probe;

/// A server for one test. It stops with the test.
struct Server {
    address: SocketAddr,
    /// The requests that it received.
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(redirect_to: Option<&Server>) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let elsewhere = redirect_to.map_or(address, |server| server.address);
        let counting = Arc::clone(&requests);
        let count = axum::middleware::from_fn_with_state(
            counting,
            async |State(requests): State<Arc<AtomicUsize>>, request, next: axum::middleware::Next| {
                requests.fetch_add(1, Ordering::Relaxed);
                next.run(request).await
            },
        );
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/host", get(async |headers: HeaderMap| headers[header::HOST].to_str().expect("text").to_owned()))
            .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.port().to_string()))
            .route(
                "/authorization",
                get(async |headers: HeaderMap| headers[header::AUTHORIZATION].to_str().expect("text").to_owned()),
            )
            .route("/large", get(async || "x".repeat(2 * 1024 * 1024)))
            .route("/never", get(std::future::pending::<()>))
            .route(
                "/redirect",
                get(async move || {
                    (StatusCode::FOUND, [(header::LOCATION, format!("http://{elsewhere}/"))]).into_response()
                }),
            )
            .route("/upload", post(async |body: Bytes| format!("{} received", body.len())))
            .layer(DefaultBodyLimit::disable())
            .layer(count);
        tokio::spawn(async move {
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.expect("it serves")
        });
        Self { address, requests }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn probe(origins: &[&str], limits: Limits) -> Probe {
    let http = origins.iter().map(|&origin| origin.into()).collect();
    Probe::load(PluginConfig { grants: Grants { http, ..Grants::default() }, limits, ..PluginConfig::default() }).await
}

impl Probe {
    async fn get(&self, server: &Server, path: &str) -> String {
        self.ask("http", &[("authority", &server.address.to_string()), ("path", path)]).await
    }
}

fn small() -> Limits {
    Limits { result_mb: 1, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_an_origin_that_was_granted_is_answered() {
    let server = Server::start(None).await;
    let probe = probe(&[&server.origin()], Limits { connections: 1, ..Limits::default() }).await;
    // More requests than the connection limit: each connection is released.
    for _ in 0..5 {
        assert_eq!(probe.get(&server, "/").await, "200 hello");
    }
    assert_eq!(probe.get(&server, "/missing").await, "404 ");
    let authority = server.address.to_string();
    let upload = [("authority", &*authority), ("path", "/upload"), ("upload", "100000")];
    assert_eq!(probe.ask("http", &upload).await, "200 100000 received");
    assert_eq!(server.requests(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_for_the_next_request() {
    let (server, other) = (Server::start(None).await, Server::start(None).await);
    let limits = Limits { connections: 1, ..Limits::default() };
    let probe = probe(&[&server.origin(), &other.origin()], limits).await;
    let mut first = probe.get(&server, "/peer").await;
    assert!(first.starts_with("200 "), "{first}");
    // A connection is kept a moment after its answer was read.
    for attempt in 1.. {
        let next = probe.get(&server, "/peer").await;
        if next == first {
            break;
        }
        assert!(attempt < 20, "each request has its own connection: {first}, {next}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        first = probe.get(&server, "/peer").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It makes room for a connection to another server.
    assert!(probe.get(&other, "/peer").await.starts_with("200 "));
    assert_ne!(probe.get(&server, "/peer").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closed_meanwhile_costs_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    // Promises to keep each connection, and closes it after one answer.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let probe = probe(&[&format!("http://{address}")], Limits::default()).await;
    for _ in 0..20 {
        assert_eq!(probe.ask("http", &[("authority", &address)]).await, "200 ok");
        // The end of the connection arrives.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_the_grant_has_a_secret_that_the_plugin_does_not_see() {
    let server = Server::start(None).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = folder.path().join("token");
    let headers = [("Authorization".into(), format!("Bearer {{file:{}}}", secret.display()))].into();
    let http = vec![HttpGrant { origin: server.origin(), headers, ..HttpGrant::default() }];
    let config = PluginConfig { grants: Grants { http, ..Grants::default() }, ..PluginConfig::default() };
    assert!(!format!("{config:?}").contains("Bearer"), "{config:?}");
    let probe = Probe::load(config).await;
    let missing = probe.get(&server, "/authorization").await;
    assert!(missing.contains("`authorization`") && !missing.contains("token"), "{missing}");
    assert_eq!(server.requests(), 0);
    for token in ["hunter2", "hunter3"] {
        std::fs::write(&secret, format!("{token}\n")).expect("a file");
        assert_eq!(probe.get(&server, "/authorization").await, format!("200 Bearer {token}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_origin_is_refused() {
    let (granted, other) = (Server::start(None).await, Server::start(None).await);
    let probe = probe(&[&granted.origin()], Limits::default()).await;
    assert!(probe.get(&other, "/").await.contains("HttpRequestDenied"));
    let (granted_at, other_at) = (granted.address.to_string(), other.address.to_string());
    let port = other.address.port();
    for authority in [
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        format!("{granted_at}@{other_at}"),
        format!("user:password@{granted_at}"),
        format!("127.1:{}", granted.address.port()),
        "127.0.0.1".into(),
    ] {
        let answer = probe.ask("http", &[("authority", &authority)]).await;
        assert!(answer.contains("HttpRequestDenied"), "{authority}: {answer}");
    }
    let answer = probe.ask("http", &[("authority", &granted_at), ("scheme", "https")]).await;
    assert!(answer.contains("HttpRequestDenied"), "{answer}");
    let answer = probe.ask("http", &[("authority", &granted_at), ("scheme", "ftp")]).await;
    assert!(answer.contains("HttpProtocolError"), "{answer}");
    assert_eq!((granted.requests(), other.requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_granted_everything_is_refused() {
    let server = Server::start(None).await;
    let probe = probe(&[], Limits::default()).await;
    assert!(probe.get(&server, "/").await.contains("HttpRequestDenied"));
    assert_eq!(server.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_returned_to_the_plugin_and_not_followed() {
    let elsewhere = Server::start(None).await;
    let (here, away) = (Server::start(None).await, Server::start(Some(&elsewhere)).await);
    let probe = probe(&[&here.origin(), &away.origin()], Limits::default()).await;
    assert_eq!(probe.get(&away, "/redirect").await, "302 ", "the host does not follow");
    let follow = |server: &Server| [("authority".to_owned(), server.address.to_string())];
    for (server, expected) in [(&here, "200 hello"), (&away, "HttpRequestDenied")] {
        let [(name, authority)] = follow(server);
        let answer = probe.ask("http", &[(&name, &authority), ("path", "/redirect"), ("follow", "")]).await;
        assert!(answer.contains(expected), "{answer}");
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_sets_the_host_header() {
    let server = Server::start(None).await;
    let probe =
        probe(&[&server.origin(), &format!("http://localhost:{}", server.address.port())], Limits::default()).await;
    let authority = server.address.to_string();
    assert!(probe.ask("http", &[("authority", &authority), ("host", "")]).await.contains("Forbidden"));
    assert_eq!(probe.get(&server, "/host").await, format!("200 {authority}"));
    let upper = format!("LOCALHOST:{}", server.address.port());
    assert_eq!(probe.ask("http", &[("authority", &upper)]).await, "200 hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited() {
    let server = Server::start(None).await;
    let limited = probe(&[&server.origin()], small()).await;
    let answer = limited.get(&server, "/large").await;
    assert!(answer.contains("response body size exceeds limit: 1048576 bytes"), "{answer}");
    let authority = server.address.to_string();
    let upload = [("authority", &*authority), ("path", "/upload"), ("upload", "2000000")];
    let answer = limited.ask("http", &upload).await;
    assert!(answer.contains("HttpRequestBodySize"), "{answer}");
    let unlimited = probe(&[&server.origin()], Limits::default()).await;
    assert_eq!(unlimited.get(&server, "/large").await, "200 2097152 bytes");
    assert_eq!(unlimited.ask("http", &upload).await, "200 2000000 received");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_costs_one_call_timeout() {
    let server = Server::start(None).await;
    let limits = Limits { call_timeout_ms: 1_000, instances: 1, connections: 1, ..Limits::default() };
    let probe = probe(&[&server.origin()], limits).await;
    let authority = server.address.to_string();
    let stopped = probe.try_ask("http", &[("authority", &authority), ("path", "/never")]).await.to_string();
    assert!(stopped.contains("longer than 1000 ms") && stopped.contains("`probe`"), "{stopped}");
    // Its only connection is free again.
    assert_eq!(probe.get(&server, "/").await, "200 hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_free_connection_is_refused() {
    let server = Server::start(None).await;
    let limits = Limits { call_timeout_ms: 10_000, instances: 2, connections: 1, ..Limits::default() };
    let probe = probe(&[&server.origin()], limits).await;
    let authority = server.address.to_string();
    let arguments = [("authority", &*authority), ("path", "/never")];
    let waiting = probe.try_ask("http", &arguments);
    let another = async {
        while server.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        probe.get(&server, "/").await
    };
    tokio::select! {
        answer = waiting => panic!("the server answered: {answer}"),
        answer = another => assert!(answer.contains("ConnectionLimitReached"), "{answer}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_an_error_for_the_plugin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let probe = probe(&[&format!("http://{address}")], Limits::default()).await;
    let answer = probe.ask("http", &[("authority", &address)]).await;
    assert!(answer.contains("ConnectionRefused"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_begins_with_a_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let probe = probe(&[&format!("https://localhost:{}", address.port())], Limits::default()).await;
    let authority = format!("localhost:{}", address.port());
    let arguments = [("authority", &*authority), ("scheme", "https")];
    let (answer, hello) = tokio::join!(probe.ask("http", &arguments), async {
        let accepted = tokio::time::timeout(Duration::from_secs(30), listener.accept()).await;
        let (mut stream, _) = accepted.expect("in time").expect("a connection");
        let mut hello = [0; 6];
        stream.read_exact(&mut hello).await.expect("it speaks first");
        hello
    });
    // A record of the kind handshake, with a client's hello in it.
    assert_eq!((hello[0], hello[1], hello[5]), (22, 3, 1), "{hello:?}");
    assert!(answer.contains("TlsProtocolError"), "{answer}");
}
