//! `wasi:http/outgoing-handler`: HTTP requests to the origins that the operator granted.
//!
//! Every request is checked by itself; the host follows no redirects, so a redirect is a request of the plugin's like any
//! other. A connection serves one request and counts among the plugin's connections until its answer is read or dropped.

mod origins;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView, default_send_request,
};

use super::{Granted, TooManyConnections};
use crate::plugin::instance::InstanceState;
use crate::plugin::policy::Limits;
use origins::Origin;
pub(crate) use origins::Origins;

/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What the host keeps of a request's body that the server has not taken yet: a part being sent and one waiting.
const CHUNK_BYTES: usize = 64 * 1024;
/// The most bytes of a request's header fields.
const FIELDS_BYTES: usize = 64 * 1024;

/// What an instance has for its requests.
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
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Http { context, hooks } = &mut self.http;
        WasiHttpCtxView { ctx: context, table: &mut self.table, hooks }
    }
}

/// The rest of an exchange: what moves the bytes of the body.
type Exchange = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Hooks {
    /// Where the request goes, if it may go there.
    fn check(&self, request: &Request<WasiBody>) -> Result<Origin, Error> {
        let granted = &self.granted;
        let plugin = granted.log.plugin();
        let refuse = |what: String| {
            granted.log.warn(&format!("an HTTP request was refused: {what} (plugins.{plugin}.grants.http)"));
            Err(Error::HttpRequestDenied)
        };
        match Origin::of(request.uri()) {
            Ok(origin) if granted.http.allow(&origin) => Ok(origin),
            Ok(origin) => refuse(format!("`{origin}` is not granted")),
            // Without the authority, which may have a password in it.
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
        let origin = self.check(&request);
        let connections = self.granted.connections.clone();
        let most = self.limits.result_bytes();
        let time = self.limits.call_timeout();
        Box::new(async move {
            let origin = origin?;
            let permit = connections.acquire().await.map_err(|TooManyConnections| Error::ConnectionLimitReached)?;
            let request = to(&origin, request, most)?;
            // No wait can outlast the call that waits, nor can one that goes on while the instance is idle.
            let options = options.unwrap_or_default();
            let within = |asked: Option<Duration>, most: Duration| Some(asked.unwrap_or(most).min(most).min(time));
            let options = RequestOptions {
                connect_timeout: within(options.connect_timeout, CONNECT_TIMEOUT),
                first_byte_timeout: within(options.first_byte_timeout, time),
                between_bytes_timeout: within(options.between_bytes_timeout, time),
            };
            let sent = tokio::time::timeout(time, default_send_request(request, Some(options))).await;
            let (response, exchange) = sent.map_err(|_| Error::ConnectionTimeout)?.map_err(quietly)?;
            let response = response.map(|body| limited(body.boxed_unsync(), most, Error::HttpResponseBodySize));
            let exchange: Exchange = Box::new(async move {
                let _permit = permit;
                // Whoever reads the body is told as well.
                let _ = exchange.await.map_err(quietly);
                Ok(())
            });
            Ok((response, exchange))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

/// The request with the origin as it was checked, so that nothing else is connected to, and a body of at most `most` bytes.
fn to(origin: &Origin, request: Request<WasiBody>, most: usize) -> Result<Request<WasiBody>, Error> {
    let (mut parts, body) = request.into_parts();
    let mut uri = parts.uri.into_parts();
    uri.authority = Some(origin.authority().parse().map_err(|_| Error::HttpRequestUriInvalid)?);
    parts.uri = uri.try_into().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(Request::from_parts(parts, limited(body, most, Error::HttpRequestBodySize)))
}

/// `body`, failing with `too_large` beyond `most` bytes.
fn limited(body: WasiBody, most: usize, too_large: fn(Option<u64>) -> Error) -> WasiBody {
    Limited::new(body, most)
        .map_err(move |error| {
            if error.is::<LengthLimitError>() {
                return too_large(Some(most as u64));
            }
            match error.downcast::<Error>() {
                Ok(error) => quietly(*error),
                Err(error) => Error::InternalError(Some(error.to_string())),
            }
        })
        .boxed_unsync()
}

/// An error in the words that the plugin gets. The crate would write a warning for each that is turned into such words
/// later, and so let a plugin fill the log.
fn quietly(error: Error) -> Error {
    tracing::debug!("an HTTP request of a plugin failed: {error}");
    match error {
        Error::Connect(_) => Error::ConnectionRefused,
        Error::Tls(_) => Error::TlsProtocolError,
        Error::InvalidDnsNameError(_) => Error::DnsError { rcode: None, info_code: None },
        Error::Hyper(error) => {
            // What a body failed with comes wrapped.
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
