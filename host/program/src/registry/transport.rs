//! Sends requests over HTTP/1.1, each over its own connection, and reads answers up to a limit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use url::Url;

use super::reference::is_loopback;

/// To connect, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Until the answer begins, and between two parts of it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// For a request with its answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const MAX_REDIRECTS: usize = 5;
/// The longest error of a registry that is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A request to one URL.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> anyhow::Result<Self> {
        let value = HeaderValue::from_str(value).map_err(|_| anyhow!("a value for the header {name} is not valid"))?;
        self.headers.insert(name, value);
        Ok(self)
    }
}

/// An answer whose body has not been read.
pub(super) struct Answer {
    pub url: Url,
    pub response: Response<Incoming>,
}

#[derive(Clone)]
pub(super) struct Transport {
    /// Whether plain HTTP is allowed to other machines.
    insecure: bool,
    tls: TlsConnector,
}

/// A stream of bytes, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Transport {
    /// Trusts the certificate authorities of the system, or those in `SSL_CERT_FILE`.
    pub(super) fn new(insecure: bool) -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!("certificate authorities of the system: {error}");
        }
        roots.add_parsable_certificates(found.certs);
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what the default versions need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { insecure, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// `http` for this machine and when that is allowed, else `https`.
    pub(super) fn scheme(&self, host: &str) -> &'static str {
        let url = Url::parse(&format!("http://{host}/")).ok();
        let is_local = url.as_ref().and_then(Url::host_str).is_some_and(is_loopback);
        if is_local || self.insecure { "http" } else { "https" }
    }

    /// Fails if the URL would send plain text to another machine.
    pub(super) fn check(&self, url: &Url) -> anyhow::Result<()> {
        let host = url.host_str().with_context(|| format!("{url} names no host"))?;
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.insecure || is_loopback(host) => Ok(()),
            "http" => bail!("{url} is plain HTTP, which anybody on the way can change; `--insecure` allows it"),
            other => bail!("{url} has the scheme {other}: expected https"),
        }
    }

    /// Sends a request. Follows the redirects of a GET; the authorization goes only to the same origin.
    pub(super) async fn send(&self, mut call: Call) -> anyhow::Result<Answer> {
        for _ in 0..=MAX_REDIRECTS {
            self.check(&call.url)?;
            let url = call.url.clone();
            let response = self.exchange(&call).await.with_context(|| format!("{} {url}", call.method))?;
            if !response.status().is_redirection() || !matches!(call.method, Method::GET | Method::HEAD) {
                return Ok(Answer { url, response });
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let location = location.with_context(|| format!("{url} redirects without saying where to"))?;
            call.url = url.join(location).map_err(|error| anyhow!("{url} redirects to an invalid URL: {error}"))?;
            if call.url.origin() != url.origin() {
                call.headers.remove(header::AUTHORIZATION);
            }
            self.check(&call.url).with_context(|| format!("{url} redirects"))?;
        }
        bail!("{} redirects more than {MAX_REDIRECTS} times", call.url)
    }

    async fn exchange(&self, call: &Call) -> anyhow::Result<Response<Incoming>> {
        let stream = timeout(CONNECT_TIMEOUT, self.connect(&call.url)).await;
        let stream = stream.map_err(|_| anyhow!("no connection within {CONNECT_TIMEOUT:?}"))??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the body, or when the response is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection to a registry ended: {error}");
            }
        });
        let authority = &call.url[url::Position::BeforeHost..url::Position::AfterPort];
        let target = &call.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder().method(call.method.clone()).uri(target).header(header::HOST, authority);
        request = request.header(header::USER_AGENT, concat!("reflow-tracing/", env!("CARGO_PKG_VERSION")));
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
        }
        let request = request.body(Full::new(call.body.clone()))?;
        // An upload takes as long as it takes.
        let limit = if call.body.is_empty() { IDLE_TIMEOUT } else { TOTAL_TIMEOUT };
        let response = timeout(limit, sender.send_request(request)).await;
        Ok(response.map_err(|_| anyhow!("no answer within {limit:?}"))??)
    }

    async fn connect(&self, url: &Url) -> anyhow::Result<Box<dyn Stream>> {
        let host = url.host_str().context("it names no host")?.trim_matches(['[', ']']);
        let port = url.port_or_known_default().context("it has no port")?;
        let tcp = TcpStream::connect((host, port)).await.with_context(|| format!("can't connect to {host}:{port}"))?;
        tcp.set_nodelay(true)?;
        if url.scheme() != "https" {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is not a valid name"))?;
        Ok(Box::new(self.tls.connect(name, tcp).await.with_context(|| format!("no TLS with {host}:{port}"))?))
    }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header as text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The body. Fails, and reads no further, when it is longer than `limit`.
    pub(super) async fn body(self, limit: usize, what: &str) -> anyhow::Result<Bytes> {
        let Self { url, response } = self;
        let mut body = response.into_body();
        let mut content = Vec::new();
        let reading = async {
            while let Some(frame) =
                timeout(IDLE_TIMEOUT, body.frame()).await.map_err(|_| anyhow!("nothing came for {IDLE_TIMEOUT:?}"))?
            {
                if let Ok(data) = frame?.into_data() {
                    ensure!(content.len() + data.len() <= limit, "it is longer than {limit} bytes");
                    content.extend_from_slice(&data);
                }
            }
            Ok(())
        };
        let read = timeout(TOTAL_TIMEOUT, reading).await;
        read.unwrap_or_else(|_| Err(anyhow!("it did not end within {TOTAL_TIMEOUT:?}")))
            .with_context(|| format!("can't read {what} from {url}"))?;
        Ok(content.into())
    }

    /// The error of an answer that is not a success.
    pub(super) async fn error(self, what: &str) -> anyhow::Error {
        let (url, status) = (self.url.clone(), self.status());
        let said = match self.body(MAX_ERROR_BYTES, "the error").await {
            Ok(body) => message(&body),
            Err(error) => format!("{error:#}"),
        };
        let separator = if said.is_empty() { "" } else { ": " };
        anyhow!("{what}: {url} answers {status}{separator}{said}")
    }
}

/// The message in the body of an error.
fn message(body: &[u8]) -> String {
    let errors = serde_json::from_slice::<serde_json::Value>(body).ok();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let messages = errors.as_ref().and_then(|body| body["errors"].as_array()).map(|errors| {
        let each = errors.iter().filter_map(|error| text(&error["message"]).or_else(|| text(&error["code"])));
        each.take(5).collect::<Vec<_>>().join("; ")
    });
    let said = messages.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    said.chars().take(500).collect()
}
