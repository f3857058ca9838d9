//! Converts errors of the crate `redis`, so that a backend on Redis can use `?`.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::StorageError;

/// The error code of a write that would exceed the server's `maxmemory`.
const OUT_OF_MEMORY: &str = "OOM";

impl From<RedisError> for StorageError {
    fn from(error: RedisError) -> Self {
        let message = format!("Redis: {error}");
        match error.kind() {
            ErrorKind::Io => Self::Unavailable(message),
            // The server is starting, failing over or moving keys: transient.
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown,
            ) => Self::Unavailable(message),
            ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed => Self::Configuration(message),
            _ if error.code() == Some(OUT_OF_MEMORY) => Self::Exhausted(message),
            _ => Self::Other { message, retryable: false },
        }
    }
}
