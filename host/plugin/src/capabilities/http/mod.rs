//! `wasi:http/outgoing-handler`: HTTP requests to the origins that the operator granted.
//!
//! Every request is checked by itself; the host follows no redirects, so a redirect is a request of the plugin's like any
//! other. A connection serves one request and counts among the plugin's connections until its answer is read or dropped.

mod origins;
mod send;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::{Granted, TooManyConnections};
use crate::instance::InstanceState;
use crate::policy::Limits;
use origins::Origin;
pub(crate) use origins::Origins;
use send::{Times, send};

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
    /// Where the request goes and how to connect if it is to be by TLS, if it may go there.
    fn check(&self, request: &Request<WasiBody>) -> Result<(Origin, Option<TlsConnector>), Error> {
        let granted = &self.granted;
        let plugin = granted.log.plugin();
        let refuse = |what: String| {
            granted.log.warn(&format!("an HTTP request was refused: {what} (plugins.{plugin}.grants.http)"));
            Err(Error::HttpRequestDenied)
        };
        match Origin::of(request.uri()) {
            Ok(origin) => match granted.http.allowing(&origin) {
                Some(allowed) => Ok((origin, allowed.tls())),
                None => refuse(format!("`{origin}` is not granted")),
            },
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
        let checked = self.check(&request);
        let connections = self.granted.connections.clone();
        let most = self.limits.result_bytes();
        let time = self.limits.call_timeout();
        Box::new(async move {
            let (origin, tls) = checked?;
            let permit = connections.acquire().await.map_err(|TooManyConnections| Error::ConnectionLimitReached)?;
            let request = request.map(|body| limited(body, most, Error::HttpRequestBodySize));
            // No wait can outlast the call that waits, nor can one that goes on while the instance is idle.
            let options = options.unwrap_or_default();
            let within = |asked: Option<Duration>, most: Duration| asked.unwrap_or(most).min(most).min(time);
            let times = Times {
                connect: within(options.connect_timeout, CONNECT_TIMEOUT),
                first_byte: within(options.first_byte_timeout, time),
                between_bytes: within(options.between_bytes_timeout, time),
            };
            // To the origin as it was checked, whatever else the request says.
            let sent = tokio::time::timeout(time, send(&origin, tls, request, times)).await;
            let (response, exchange) = sent.map_err(|_| Error::ConnectionTimeout)?.map_err(quietly)?;
            let response = response.map(|body| limited(body, most, Error::HttpResponseBodySize));
            let exchange = Box::into_pin(exchange);
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
