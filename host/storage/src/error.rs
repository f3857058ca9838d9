use std::fmt::Display;

use reflow_tracing_model::InvalidValue;

/// Why a call to a store failed. Each message names the object and, if there is one, the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The argument is invalid. Nothing was changed.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// The requested object does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The database is unreachable, locked or overloaded. A later call may succeed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Acknowledged writes wait in a spool and can't be read yet. A later call may succeed.
    #[error("writes are pending: {0}")]
    Pending(String),
    /// The store reached a limit: its size, a quota or the disk.
    #[error("the store is full: {0}")]
    Exhausted(String),
    /// The backend doesn't support the call.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The stored data is damaged, or another program wrote it.
    #[error("the stored data can't be read: {0}")]
    Corrupt(String),
    /// The configuration of the store is wrong.
    #[error("{0}")]
    Configuration(String),
    /// A plugin trapped, broke its contract or exceeded a limit. Its other calls are not affected.
    #[error("plugin `{plugin}` failed in `{call}`: {reason}")]
    Plugin {
        /// The plugin's name in the configuration.
        plugin: String,
        /// The function of the contract that was called.
        call: &'static str,
        /// What happened.
        reason: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// Any other error.
    #[error("{message}")]
    Other {
        /// What happened.
        message: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
}

impl StorageError {
    /// The error of a write to a store that was opened for reading only.
    pub fn read_only(store: impl Display) -> Self {
        Self::Unsupported(format!("{store} was opened for reading only (`read_only`); nothing was changed"))
    }

    /// The names of the kinds, for metrics and logs.
    pub const KINDS: [&str; 10] = [
        "invalid_argument",
        "not_found",
        "unavailable",
        "pending",
        "exhausted",
        "unsupported",
        "corrupt",
        "configuration",
        "plugin",
        "other",
    ];

    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidArgument(_) => "invalid_argument",
            Self::NotFound(_) => "not_found",
            Self::Unavailable(_) => "unavailable",
            Self::Pending(_) => "pending",
            Self::Exhausted(_) => "exhausted",
            Self::Unsupported(_) => "unsupported",
            Self::Corrupt(_) => "corrupt",
            Self::Configuration(_) => "configuration",
            Self::Plugin { .. } => "plugin",
            Self::Other { .. } => "other",
        }
    }

    /// Whether the error is transient: the same call may succeed later. Retrying writes is safe, because they are idempotent.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Pending(_) => true,
            Self::Plugin { retryable, .. } | Self::Other { retryable, .. } => *retryable,
            _ => false,
        }
    }
}

impl From<InvalidValue> for StorageError {
    fn from(error: InvalidValue) -> Self {
        Self::InvalidArgument(error.to_string())
    }
}

impl From<serde_json::Error> for StorageError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}
