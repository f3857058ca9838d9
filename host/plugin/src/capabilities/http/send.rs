//! Sends one request over one connection.
//!
//! wasmtime's own function for this can't trust other authorities than browsers do.

use std::future::Future;
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::unfold;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, WasiBody};

use super::origins::Origin;

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

/// Sends the request to the origin, over `tls` if it is HTTPS.
pub(super) async fn send(
    origin: &Origin,
    tls: Option<TlsConnector>,
    request: Request<WasiBody>,
    timeouts: Timeouts,
) -> Result<(Response<WasiBody>, Exchange), Error> {
    let connecting = async {
        let tcp = TcpStream::connect(origin.authority()).await.map_err(Error::Connect)?;
        let stream: Box<dyn Stream> = match tls {
            Some(tls) => Box::new(tls.connect(origin.server_name()?, tcp).await.map_err(Error::Tls)?),
            None => Box::new(tcp),
        };
        Ok::<_, Error>(http1::handshake(TokioIo::new(stream)).await?)
    };
    let connected = timeout(timeouts.connect, connecting).await;
    let (mut sender, connection) = connected.map_err(|_| Error::ConnectionTimeout)??;
    let mut connection = Some(Box::pin(connection));
    let answering = async {
        let answered = timeout(timeouts.first_byte, sender.send_request(without_origin(request)?)).await;
        Ok::<_, Error>(answered.map_err(|_| Error::ConnectionReadTimeout)??)
    };
    let answering = std::pin::pin!(answering);
    // Polling the connection transfers the bytes.
    let response = match connection.as_mut() {
        Some(transfer) => match select(answering, transfer).await {
            Either::Left((response, _)) => response?,
            Either::Right((transferred, answering)) => {
                transferred?;
                connection = None;
                answering.await?
            }
        },
        None => answering.await?,
    };
    let exchange: Exchange = Box::new(async move {
        if let Some(connection) = connection {
            connection.await?;
        }
        Ok(())
    });
    Ok((response.map(|body| with_timeout(body, timeouts.between_bytes)), exchange))
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
