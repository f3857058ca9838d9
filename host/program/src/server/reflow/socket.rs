//! The WebSocket of a connection. axum has one, but it can't send a message in several frames.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::{Sink, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::metered_stream::MeteredStream;
use crate::budget::Account;

/// The longest message that is accepted, in bytes. Reflow's messages contain snapshots of messages and states, with four
/// bytes of JSON per byte; one event must not use the memory of thousands.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The buffers of a connection for reading and for writing, in bytes. Idle connections have them too.
pub(super) const BUFFER: usize = 16 * 1024;

type Stream = MeteredStream<TokioIo<Upgraded>>;

/// An open WebSocket.
pub(super) struct Socket {
    /// `None` only while its buffers are replaced.
    socket: Option<WebSocketStream<Stream>>,
}

impl Socket {
    async fn new(stream: Stream) -> Self {
        Self { socket: Some(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await) }
    }

    fn socket(&mut self) -> &mut WebSocketStream<Stream> {
        self.socket.as_mut().expect("it is put back at once")
    }

    /// The stream below.
    pub(super) fn stream(&mut self) -> &mut Stream {
        self.socket().get_mut()
    }

    /// The same, and drops the buffers.
    pub(super) fn into_stream(mut self) -> Option<Stream> {
        self.socket.take().map(WebSocketStream::into_inner)
    }

    /// Replaces buffers that became large, which the WebSocket would keep for as long as it lives. Everything must be flushed.
    pub(super) async fn renew(&mut self) {
        if self.stream().may_renew()
            && let Some(socket) = self.socket.take()
        {
            let mut stream = socket.into_inner();
            stream.renewed();
            *self = Self::new(stream).await;
        }
    }
}

impl futures::Stream for Socket {
    type Item = Result<Message, tungstenite::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.socket().poll_next_unpin(cx)
    }
}

impl Sink<Message> for Socket {
    type Error = tungstenite::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket().poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        self.socket().start_send_unpin(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket().poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket().poll_close_unpin(cx)
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
}

/// The answer to a request for a WebSocket, and the socket once the peer has received it. Fails if it is another request.
pub(super) fn upgrade(
    mut request: Request,
    account: Account,
) -> Result<(Response, impl Future<Output = Result<Socket, hyper::Error>>), tungstenite::Error> {
    let response = create_response_with_body(&request, Body::empty)?;
    let upgraded = hyper::upgrade::on(&mut request);
    let socket = async move {
        let stream = MeteredStream::new(TokioIo::new(upgraded.await?), account);
        Ok(Socket::new(stream).await)
    };
    Ok((response, socket))
}
