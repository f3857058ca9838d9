//! Sends the requests of an instance.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio_rustls::rustls;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks};

use super::origins::{Header, Origin};
use super::send::{Exchange, Target, Timeouts, send};
use crate::capabilities::granted::Granted;
use crate::capabilities::log::PluginLog;
use crate::policy::Limits;

/// Maximum time to connect, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Chunk size of request bodies. The host buffers two: one being sent and one waiting.
const CHUNK_BYTES: usize = 64 * 1024;
/// Maximum size of a request's header fields.
const FIELDS_BYTES: usize = 64 * 1024;

/// The HTTP state of an instance.
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    granted: Arc<Granted>,
    limits: Arc<Limits>,
}

impl Http {
    pub(crate) fn new(granted: Arc<Granted>, limits: Arc<Limits>) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(FIELDS_BYTES);
        Self { context, hooks: Hooks { granted, limits } }
    }

    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.context, table, hooks: &mut self.hooks }
    }
}

impl Hooks {
    /// Where the request goes, and the headers to set. Fails when the origin is not granted.
    fn check(&self, request: &Request<WasiBody>) -> Result<(Target, Vec<Header>), Error> {
        let granted = &self.granted;
        let plugin = granted.log.plugin();
        let refuse = |what: String| {
            granted.log.warn(&format!("refused an HTTP request: {what} (plugins.{plugin}.grants.http)"));
            Err(Error::HttpRequestDenied)
        };
        match Origin::of(request.uri()) {
            Ok(origin) => match granted.http.allowing(&origin) {
                Some(allowed) => {
                    let target = Target { origin, tls: allowed.tls(), reach: allowed.reach() };
                    Ok((target, allowed.headers().to_vec()))
                }
                None => refuse(format!("`{origin}` is not granted")),
            },
            // The message omits the authority, which may contain a password.
            Err(problem) => refuse(problem.into()),
        }
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Exchange), Error>> + Send> {
        let checked = self.check(&request);
        let granted = Arc::clone(&self.granted);
        let most = self.limits.result_bytes();
        let time = self.limits.call_timeout();
        Box::new(async move {
            let (target, headers) = checked?;
            let mut request = request;
            set(headers, request.headers_mut(), &granted.log).await?;
            let request = request.map(|body| limited(body, most, Error::HttpRequestBodySize));
            // No timeout is longer than a call, also for transfers that continue while the instance is idle.
            let options = options.unwrap_or_default();
            let within = |requested: Option<Duration>, max: Duration| requested.unwrap_or(max).min(max).min(time);
            let timeouts = Timeouts {
                connect: within(options.connect_timeout, CONNECT_TIMEOUT),
                first_byte: within(options.first_byte_timeout, time),
                between_bytes: within(options.between_bytes_timeout, time),
            };
            // Connects to the origin that was checked, not to one that the request names elsewhere.
            let idle = Arc::clone(&granted.http.idle);
            let sent = send(&target, request, timeouts, idle, &granted.connections);
            let sent = tokio::time::timeout(time, sent).await.unwrap_or(Err(Error::ConnectionTimeout));
            let (response, exchange) = sent.map_err(|error| {
                // The plugin gets a code without the details.
                granted.log.warn(&format!("an HTTP request to {} failed: {}", target.origin, reason(&error)));
                plugin_error(error)
            })?;
            let response = response.map(|body| limited(body, most, Error::HttpResponseBodySize));
            let exchange = Box::into_pin(exchange);
            let exchange: Exchange = Box::new(async move {
                // The reader of the body gets the error too.
                let _ = exchange.await.map_err(plugin_error);
                Ok(())
            });
            Ok((response, exchange))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

/// Sets the headers of the grant, in place of the plugin's own.
async fn set(headers: Vec<Header>, request: &mut HeaderMap, log: &PluginLog) -> Result<(), Error> {
    if headers.is_empty() {
        return Ok(());
    }
    let read = move || headers.into_iter().map(|Header { name, value }| (name, value.read())).collect::<Vec<_>>();
    let values =
        tokio::task::spawn_blocking(read).await.map_err(|error| Error::InternalError(Some(error.to_string())))?;
    for (name, value) in values {
        let problem = match value.map(|value| HeaderValue::from_bytes(&value)) {
            Ok(Ok(mut value)) => {
                value.set_sensitive(true);
                request.insert(name, value);
                continue;
            }
            Ok(Err(_)) => "it has characters that a header can't have".into(),
            Err(problem) => problem,
        };
        // Only the operator may see the source.
        log.warn(&format!("can't set the header `{name}` that an HTTP grant has: {problem}"));
        let message = format!("can't set the header `{name}` of the grant; the host's log says why");
        return Err(Error::InternalError(Some(message)));
    }
    Ok(())
}

/// Why a request failed, with the causes.
fn reason(error: &Error) -> String {
    match error {
        Error::Connect(error) => format!("can't connect: {error}"),
        Error::Tls(error) => format!("TLS: {error}"),
        Error::DestinationIpProhibited => {
            "the name has only addresses of this machine or of private networks; to allow them, grant \
                                           `{ origin = \"..\", private = true }`"
                .into()
        }
        Error::DnsError { rcode: Some(problem), .. } => format!("can't resolve the name: {problem}"),
        Error::Hyper(error) => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// `body`, failing with `too_large` beyond `most` bytes.
fn limited(body: WasiBody, most: usize, too_large: fn(Option<u64>) -> Error) -> WasiBody {
    Limited::new(body, most)
        .map_err(move |error| {
            if error.is::<LengthLimitError>() {
                return too_large(Some(most as u64));
            }
            match error.downcast::<Error>() {
                Ok(error) => plugin_error(*error),
                Err(error) => Error::InternalError(Some(error.to_string())),
            }
        })
        .boxed_unsync()
}

/// Converts an error to the code that the plugin gets. Without this, the crate would convert it and log a warning each time,
/// and a plugin could fill the log.
fn plugin_error(error: Error) -> Error {
    tracing::debug!("an HTTP request of a plugin failed: {error}");
    match error {
        Error::Connect(_) => Error::ConnectionRefused,
        Error::Tls(error) => match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
            _ => Error::TlsProtocolError,
        },
        Error::Hyper(error) => {
            // An error of the body is wrapped.
            let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>());
            match cause {
                Some(Error::HttpRequestBodySize(size)) => Error::HttpRequestBodySize(*size),
                _ if error.is_timeout() => Error::HttpResponseTimeout,
                _ => Error::HttpProtocolError,
            }
        }
        other => other,
    }
}
