//! The WebSocket of a connection. axum has one, but it can't send a message in several frames.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::metered_stream::MeteredStream;
use crate::budget::Account;

/// The longest message that is accepted, in bytes. Reflow's messages contain snapshots of messages and states, with four
/// bytes of JSON per byte; one event must not use the memory of thousands.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The buffers of a connection for reading and for writing, in bytes. Idle connections have them too.
pub(super) const BUFFER: usize = 16 * 1024;

/// An open WebSocket.
pub(super) type Socket = WebSocketStream<MeteredStream<TokioIo<Upgraded>>>;

/// The answer to a request for a WebSocket, and the socket once the peer has received it. Fails if it is another request.
pub(super) fn upgrade(
    mut request: Request,
    account: Account,
) -> Result<(Response, impl Future<Output = Result<Socket, hyper::Error>>), tungstenite::Error> {
    let response = create_response_with_body(&request, Body::empty)?;
    let upgraded = hyper::upgrade::on(&mut request);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER);
    let socket = async move {
        let stream = MeteredStream::new(TokioIo::new(upgraded.await?), account);
        Ok(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
    };
    Ok((response, socket))
}
