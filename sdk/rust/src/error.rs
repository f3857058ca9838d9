use crate::{Failure, StorageError, sql};

impl StorageError {
    /// A permanent failure that has no case of its own.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(Failure { message: message.into(), retryable: false })
    }
}

/// So that `?` converts an error of the database.
impl From<sql::Error> for StorageError {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::NoSuchLabel(label) => Self::InvalidArgument(format!(
                "no database is granted under the label `{label}`: add grants = {{ sql = {{ {label} = \"...\" }} }}"
            )),
            sql::Error::AccessDenied(message) => Self::InvalidArgument(message),
            sql::Error::PoolExhausted => Self::Unavailable("too many connections to the database are in use".into()),
            sql::Error::Timeout => Self::Unavailable("the database did not answer in time".into()),
            sql::Error::ConnectionLost(message) => Self::Unavailable(message),
            sql::Error::LimitExceeded(message) => Self::Exhausted(message),
            sql::Error::Database(error) => Self::Other(Failure {
                message: format!("{} ({})", error.message, error.code),
                retryable: error.retryable,
            }),
            sql::Error::Conversion(message) | sql::Error::Other(message) => Self::other(message),
        }
    }
}
