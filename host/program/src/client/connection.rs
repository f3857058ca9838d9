use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::error::ClientError;
use super::url::HostUrl;
use crate::server::reflow::{ErrorCode, TracingRequest};

/// The longest message that is taken, in one frame or several. Reflow's own clients take as much.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// The time for a connection to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for an answer. The host limits its calls to the backend itself, to a minute each by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a host may say nothing before it is asked whether it is there, and again before it counts as gone.
const SILENCE: Duration = Duration::from_secs(30);

/// How long the host has for the closing handshake.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection to a host.
pub struct Connection {
    url: HostUrl,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What both message families say of an error.
#[derive(Deserialize)]
enum Failure {
    Error {
        message: String,
        #[serde(default)]
        code: Option<ErrorCode>,
    },
}

impl Connection {
    /// Connects.
    pub async fn open(url: &HostUrl) -> Result<Self, ClientError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let connected = tokio_tungstenite::connect_async_with_config(url.as_str(), Some(config), true);
        let problem = format!("it did not answer within {} s; is the address right?", CONNECT_TIMEOUT.as_secs());
        let (socket, _) = timeout(CONNECT_TIMEOUT, connected)
            .await
            .map_err(|_| ClientError::Connect { url: url.clone(), problem })?
            .map_err(|error| ClientError::connecting(url, error))?;
        Ok(Self { url: url.clone(), socket })
    }

    /// The WebSocket, for protocols of requests of their own.
    pub fn into_socket(self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        self.socket
    }

    /// Sends a request.
    pub async fn send(&mut self, request: &TracingRequest) -> Result<(), ClientError> {
        let json = serde_json::to_string(request).expect("requests are plain data whose maps have text keys");
        self.socket.send(Message::text(json)).await.map_err(|error| ClientError::lost(&self.url, error))
    }

    /// Sends a request and waits for its answer, the next message. Not for connections with a subscription.
    ///
    /// Returns also the number of bytes of the answer.
    pub async fn ask<T: DeserializeOwned>(&mut self, request: &TracingRequest) -> Result<(T, usize), ClientError> {
        let answer = async {
            self.send(request).await?;
            self.receive().await
        };
        let answer = timeout(ANSWER_TIMEOUT, answer).await;
        let answer = answer.map_err(|_| ClientError::TimedOut { url: self.url.clone(), after: ANSWER_TIMEOUT })??;
        Ok((self.parse(&answer)?, answer.len()))
    }

    /// Reads an answer. An error of the host is an error.
    pub fn parse<T: DeserializeOwned>(&self, answer: &str) -> Result<T, ClientError> {
        if let Ok(Failure::Error { message, code }) = serde_json::from_str(answer) {
            return Err(ClientError::Refused { url: self.url.clone(), message, code });
        }
        serde_json::from_str(answer).map_err(|_| ClientError::not_an_answer(&self.url, answer))
    }

    /// The error of an answer that does not belong to its request.
    pub fn unexpected(&self, answer: &impl Serialize) -> ClientError {
        ClientError::not_an_answer(&self.url, &serde_json::to_string(answer).unwrap_or_default())
    }

    /// Waits for the next answer, for as long as it takes. May be cancelled.
    pub async fn receive(&mut self) -> Result<Utf8Bytes, ClientError> {
        loop {
            let message = self.next().await?;
            if let Some(text) = self.text_of(message)? {
                return Ok(text);
            }
        }
    }

    /// Waits for the next notification. A host that is silent for long is asked whether it is still there. May be cancelled.
    pub async fn watch(&mut self) -> Result<Utf8Bytes, ClientError> {
        let mut is_asked = false;
        loop {
            match timeout(SILENCE, self.next()).await {
                Ok(message) => {
                    is_asked = false;
                    if let Some(text) = self.text_of(message?)? {
                        return Ok(text);
                    }
                }
                Err(_) if is_asked => {
                    return Err(ClientError::TimedOut { url: self.url.clone(), after: 2 * SILENCE });
                }
                Err(_) => {
                    is_asked = true;
                    let ping = self.socket.send(Message::Ping(Default::default())).await;
                    ping.map_err(|error| ClientError::lost(&self.url, error))?;
                }
            }
        }
    }

    async fn next(&mut self) -> Result<Message, ClientError> {
        match self.socket.next().await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(ClientError::lost(&self.url, error)),
            None => Err(self.is_closed("")),
        }
    }

    /// The text of a message; `None` for those that only keep the connection alive.
    fn text_of(&self, message: Message) -> Result<Option<Utf8Bytes>, ClientError> {
        match message {
            Message::Text(text) => Ok(Some(text)),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
            Message::Binary(bytes) => {
                Err(ClientError::not_an_answer(&self.url, &format!("{} bytes that are not text", bytes.len())))
            }
            Message::Close(frame) => Err(self.is_closed(frame.as_ref().map_or("", |frame| frame.reason.as_str()))),
        }
    }

    fn is_closed(&self, reason: &str) -> ClientError {
        let problem = if reason.is_empty() { "the host closed it" } else { reason };
        ClientError::Lost { url: self.url.clone(), problem: problem.into() }
    }

    /// Ends the connection.
    pub async fn close(mut self) {
        let goodbye = async {
            if self.socket.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // The host notices the end either way.
        let _ = timeout(GOODBYE, goodbye).await;
    }
}
