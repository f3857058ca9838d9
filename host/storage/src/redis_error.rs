//! What an error of the crate `redis` means to the caller of a store, so that a backend on it can use `?`.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::StorageError;

/// The code of the answer to a write that would take a server over its `maxmemory`.
const OUT_OF_MEMORY: &str = "OOM";

impl From<RedisError> for StorageError {
    fn from(error: RedisError) -> Self {
        let message = format!("Redis: {error}");
        match error.kind() {
            ErrorKind::Io => Self::Unavailable(message),
            // A server that starts, fails over or moves its keys says so; it is over in a while.
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
