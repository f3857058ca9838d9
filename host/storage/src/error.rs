use reflow_tracing_model::InvalidValue;

/// Why a store did not do what it was asked. Each message names what it is about and, where there is one, the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The argument can't be stored or asked for; nothing was changed.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// What the call is about does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The database can't be reached, is locked or overloaded; a later call may succeed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What was acknowledged before waits in a spool and can't be read yet; a later call may succeed.
    #[error("writes are pending: {0}")]
    Pending(String),
    /// A limit of the store is reached: its size, a quota, the disk.
    #[error("the store is full: {0}")]
    Exhausted(String),
    /// This backend can't do it.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// What was read is not what was written, or was not written by this program.
    #[error("the stored data can't be read: {0}")]
    Corrupt(String),
    /// The configuration of the store is wrong.
    #[error("{0}")]
    Configuration(String),
    /// A plugin broke its contract, a limit, or down. Its other calls go on.
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
    /// Anything else.
    #[error("{message}")]
    Other {
        /// What happened.
        message: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
}

impl StorageError {
    /// The names of the kinds, for figures and logs.
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

    /// Whether the same call may succeed later without a change by its caller. Writes are idempotent, so it is safe.
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
