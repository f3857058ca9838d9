use crate::{Failure, Status, StorageError, Uuid};

impl StorageError {
    /// A permanent failure that has no case of its own.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(Failure {
            message: message.into(),
            retryable: false,
        })
    }
}

impl Uuid {
    /// The UUID of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self {
            high: (number >> 64) as u64,
            low: number as u64,
        }
    }

    /// Its 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.high) << 64) | u128::from(self.low)).to_be_bytes()
    }
}

impl Status {
    /// The name in the model, for example `Completed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}
