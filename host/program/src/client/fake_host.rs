//! Servers of tests, which a client asks.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::url::HostUrl;

/// A server's end of a connection.
pub struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    /// The next request; `None` when the client has gone.
    pub async fn request(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Sends an answer.
    pub async fn send(&mut self, answer: Value) {
        self.send_message(Message::text(answer.to_string())).await;
    }

    /// Sends a message or a frame.
    pub async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }
}

/// A listener, and the URL of what will listen there.
pub async fn listener() -> (TcpListener, HostUrl) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    (listener, format!("ws://{address}").parse().unwrap())
}

/// Waits for a client.
pub async fn accept(listener: &TcpListener) -> Peer {
    let (stream, _) = listener.accept().await.unwrap();
    Peer(tokio_tungstenite::accept_async(stream).await.unwrap())
}

/// Serves each connection with `serve`, one after the other. Runs until the test ends.
pub async fn start<F: Future<Output = ()> + Send>(serve: impl Fn(Peer) -> F + Send + Sync + 'static) -> HostUrl {
    let (listener, url) = listener().await;
    tokio::spawn(async move {
        loop {
            serve(accept(&listener).await).await;
        }
    });
    url
}
