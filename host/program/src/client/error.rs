use std::io;
use std::time::Duration;

use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};

use super::url::HostUrl;
use crate::server::reflow::ErrorCode;
use reflow_tracing::storage::StorageError;

/// The most characters of an unexpected answer that an error repeats.
const SHOWN: usize = 400;

/// Why a host could not be asked. The messages name the host and say what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Connecting failed.
    #[error("can't connect to {url}: {problem}")]
    Connect {
        /// The address.
        url: HostUrl,
        /// The problem and the remedy.
        problem: String,
    },
    /// What listens at the address is something else.
    #[error("what listens at {url} is not a Reflow tracing host: {problem}")]
    NotAHost {
        /// The address.
        url: HostUrl,
        /// What it did.
        problem: String,
    },
    /// The connection ended.
    #[error("lost the connection to {url}: {problem}")]
    Lost {
        /// The address.
        url: HostUrl,
        /// The reason.
        problem: String,
    },
    /// The host is silent.
    #[error("{url} has not answered for {} s; look into the log of the host", after.as_secs())]
    TimedOut {
        /// The address.
        url: HostUrl,
        /// How long it had.
        after: Duration,
    },
    /// The answer is larger than a message may be.
    #[error(
        "the answer of {url} is larger than {} MiB: ask for fewer traces with --limit, or open the store itself with --store",
        max_bytes >> 20
    )]
    TooLarge {
        /// The address.
        url: HostUrl,
        /// The most bytes of a message.
        max_bytes: usize,
    },
    /// The host refused the request, or failed.
    #[error("{url} answered with an error: {message}")]
    Refused {
        /// The address.
        url: HostUrl,
        /// What the host says.
        message: String,
        /// The kind of error, if the host says it.
        code: Option<ErrorCode>,
    },
}

impl ClientError {
    /// Why connecting failed.
    pub(super) fn connecting(url: &HostUrl, error: tungstenite::Error) -> Self {
        let url = url.clone();
        match error {
            tungstenite::Error::Io(error) => Self::Connect { problem: unreachable(&url, &error), url },
            tungstenite::Error::Tls(error) => Self::Connect { problem: error.to_string(), url },
            tungstenite::Error::Http(response) => {
                let status = response.status();
                let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
                let body = body.trim();
                // The host says why it refuses a request, and what to set.
                if status == 403 && !body.is_empty() {
                    return Self::Connect { problem: shortened(body), url };
                }
                Self::NotAHost { url, problem: format!("it answered {status} to a WebSocket; is the port right?") }
            }
            error => Self::NotAHost { url, problem: format!("{error}; is the port right?") },
        }
    }

    /// Why a connection ended.
    pub(super) fn lost(url: &HostUrl, error: tungstenite::Error) -> Self {
        let url = url.clone();
        match error {
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                Self::TooLarge { url, max_bytes: max_size }
            }
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Lost { url, problem: "the host is gone".into() }
            }
            error => Self::Lost { url, problem: error.to_string() },
        }
    }

    pub(super) fn not_an_answer(url: &HostUrl, text: &str) -> Self {
        Self::NotAHost { url: url.clone(), problem: format!("it answered `{}`", shortened(text)) }
    }

    /// Whether a valid query may succeed when it asks for less.
    pub(super) fn is_too_large(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            // No code says just that. The same refusal of another cause is cheap.
            Self::Refused { code, .. } => *code == Some(ErrorCode::InvalidRequest),
            _ => false,
        }
    }
}

fn unreachable(url: &HostUrl, error: &io::Error) -> String {
    let problem = error.to_string();
    let hint = match url.without_tls().filter(|_| error.kind() == io::ErrorKind::InvalidData) {
        Some(_) if problem.contains("certificate") => {
            "; the system has to trust who issued it, or SSL_CERT_FILE has to name a file with that authority".into()
        }
        Some(plain) => format!("; if the host is not behind a proxy with TLS, use {plain}"),
        None if url.has_default_port() => "; the URL has no port, and that of a host is 8080 by default".into(),
        None if url.is_local() => "; is the host running? Start it with `reflow-tracing serve`".into(),
        None => {
            "; is the host running, and does it listen on this address? See `host` and `port` in `[server]` of its \
                 configuration"
                .into()
        }
    };
    problem + &hint
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

impl From<ClientError> for StorageError {
    fn from(error: ClientError) -> Self {
        let retryable =
            matches!(error, ClientError::Connect { .. } | ClientError::Lost { .. } | ClientError::TimedOut { .. });
        Self::Other { message: error.to_string(), retryable }
    }
}
