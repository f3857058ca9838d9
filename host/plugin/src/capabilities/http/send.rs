//! Sends one request.
//!
//! wasmtime's own function for this can't trust other authorities than browsers do.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::unfold;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, WasiBody};

use super::address::Reach;
use super::idle::{Connection, IdleConnections};
use super::origins::Origin;
use crate::capabilities::connections::ConnectionBudget;

/// Timeouts of an exchange.
pub(super) struct Timeouts {
    /// To connect, including TLS.
    pub connect: Duration,
    /// From the request to the first byte of the response.
    pub first_byte: Duration,
    /// Between two frames of the response body.
    pub between_bytes: Duration,
}

/// Transfers the bytes of the response body until it is complete.
pub(super) type Exchange = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Where a request goes.
pub(super) struct Target {
    pub origin: Origin,
    /// For HTTPS.
    pub tls: Option<TlsConnector>,
    /// The addresses that the origin may have.
    pub reach: Reach,
}

/// Sends the request: on an idle connection, or on a new one of `budget`.
pub(super) async fn send(
    target: &Target,
    request: Request<WasiBody>,
    timeouts: Timeouts,
    idle: Arc<IdleConnections>,
    budget: &ConnectionBudget,
) -> Result<(Response<WasiBody>, Exchange), Error> {
    let origin = &target.origin;
    let mut request = without_origin(request)?;
    while let Some(mut connection) = idle.take(origin) {
        match ask(&mut connection.sender, request, &timeouts).await {
            Ok(response) => return Ok(exchange(response, connection, origin, timeouts, idle)),
            // The server closed the connection before the request was sent.
            Err((_, Some(unsent))) => request = unsent,
            Err((error, None)) => return Err(error),
        }
    }
    let permit = idle.permit(budget).await?;
    let connected = timeout(timeouts.connect, connect(target)).await;
    let mut sender = connected.map_err(|_| Error::ConnectionTimeout)??;
    let response = ask(&mut sender, request, &timeouts).await.map_err(|(error, _)| error)?;
    Ok(exchange(response, Connection { sender, _permit: permit }, origin, timeouts, idle))
}

async fn connect(Target { origin, tls, reach }: &Target) -> Result<SendRequest<WasiBody>, Error> {
    let addresses = tokio::net::lookup_host(origin.authority()).await;
    let addresses: Vec<_> = addresses
        .map_err(|error| Error::DnsError { rcode: Some(error.to_string()), info_code: None })?
        .filter(|address| reach.allows(address.ip()))
        .collect();
    if addresses.is_empty() {
        return Err(Error::DestinationIpProhibited);
    }
    let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(Error::Connect)?;
    // A request goes out in few packets, and its answer is waited for.
    let _ = tcp.set_nodelay(true);
    let stream: Box<dyn Stream> = match tls {
        Some(tls) => Box::new(tls.connect(origin.server_name()?, tcp).await.map_err(Error::Tls)?),
        None => Box::new(tcp),
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Transfers the bytes, until both the sender and the last body are gone.
    tokio::spawn(connection);
    Ok(sender)
}

/// The answer to a request. The error has the request if it was not sent.
async fn ask(
    sender: &mut SendRequest<WasiBody>,
    request: Request<WasiBody>,
    timeouts: &Timeouts,
) -> Result<Response<Incoming>, (Error, Option<Request<WasiBody>>)> {
    let answered = timeout(timeouts.first_byte, sender.try_send_request(request)).await;
    let answered = answered.map_err(|_| (Error::ConnectionReadTimeout, None))?;
    answered.map_err(|mut failed| {
        let unsent = failed.take_message();
        (failed.into_error().into(), unsent)
    })
}

/// The response, and its transfer, after which the connection is idle.
fn exchange(
    response: Response<Incoming>,
    mut connection: Connection,
    origin: &Origin,
    timeouts: Timeouts,
    idle: Arc<IdleConnections>,
) -> (Response<WasiBody>, Exchange) {
    let origin = origin.clone();
    let exchange: Exchange = Box::new(async move {
        // Ready for the next request when the body of this one's response was read.
        if connection.sender.ready().await.is_ok() {
            idle.put(origin, connection);
        }
        Ok(())
    });
    (response.map(|body| with_timeout(body, timeouts.between_bytes)), exchange)
}

/// A stream of bytes, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The request with only a path in its URI, as HTTP/1.1 sends it. The header `host` names the origin.
fn without_origin(mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    *request.uri_mut() = path;
    Ok(request)
}

/// `body`, failing when no frame arrives within `limit`.
fn with_timeout(body: Incoming, limit: Duration) -> WasiBody {
    let frames = unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(limit, body.frame()).await {
            Ok(Some(Ok(frame))) => Some((Ok(frame), Some(body))),
            Ok(Some(Err(error))) if error.is_timeout() => Some((Err(Error::HttpResponseTimeout), None)),
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Ok(None) => None,
            Err(_) => Some((Err(Error::ConnectionReadTimeout), None)),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_address_that_a_name_has_is_checked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin = Origin::of(&format!("http://localhost:{port}/").parse().unwrap()).unwrap();
        let target = |reach| Target { origin: origin.clone(), tls: None, reach };
        assert!(matches!(connect(&target(Reach::Internet)).await, Err(Error::DestinationIpProhibited)));
        connect(&target(Reach::Loopback)).await.expect("it is this machine");
        connect(&target(Reach::Everywhere)).await.expect("everything is allowed");
    }
}
