//! One request over one connection.
//!
//! What wasmtime offers for this trusts the authorities that browsers trust and no others.

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

use super::Exchange;
use super::origins::Origin;

/// How long each part of an exchange may take.
pub(super) struct Times {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of the response.
    pub first_byte: Duration,
    /// Between two parts of the response's body.
    pub between_bytes: Duration,
}

/// Sends the request to the origin. `tls`: how to connect, if the origin wants TLS.
pub(super) async fn send(
    origin: &Origin,
    tls: Option<TlsConnector>,
    request: Request<WasiBody>,
    times: Times,
) -> Result<(Response<WasiBody>, Exchange), Error> {
    let connecting = async {
        let tcp = TcpStream::connect(origin.authority()).await.map_err(Error::Connect)?;
        let stream: Box<dyn Stream> = match tls {
            Some(tls) => Box::new(tls.connect(origin.server_name()?, tcp).await.map_err(Error::Tls)?),
            None => Box::new(tcp),
        };
        Ok::<_, Error>(http1::handshake(TokioIo::new(stream)).await?)
    };
    let connected = timeout(times.connect, connecting).await;
    let (mut sender, connection) = connected.map_err(|_| Error::ConnectionTimeout)??;
    let mut connection = Some(Box::pin(connection));
    let answering = async {
        let answered = timeout(times.first_byte, sender.send_request(without_origin(request)?)).await;
        Ok::<_, Error>(answered.map_err(|_| Error::ConnectionReadTimeout)??)
    };
    let answering = std::pin::pin!(answering);
    // The connection moves the bytes while it is polled.
    let response = match connection.as_mut() {
        Some(moving) => match select(answering, moving).await {
            Either::Left((response, _)) => response?,
            Either::Right((moved, answering)) => {
                moved?;
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
    Ok((response.map(|body| patient(body, times.between_bytes)), exchange))
}

/// A stream of bytes, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A request as a server gets it: with a path alone. The header `host` names the origin.
fn without_origin(mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    *request.uri_mut() = path;
    Ok(request)
}

/// `body`, failing when there is nothing of it for so long.
fn patient(body: Incoming, patience: Duration) -> WasiBody {
    let frames = unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => Some((Ok(frame), Some(body))),
            Ok(Some(Err(error))) if error.is_timeout() => Some((Err(Error::HttpResponseTimeout), None)),
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Ok(None) => None,
            Err(_) => Some((Err(Error::ConnectionReadTimeout), None)),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
