//! Why a call to a plugin failed.

use reflow_tracing_storage::StorageError;

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub kind: FailureKind,
    pub error: StorageError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No instance became free in time, so the plugin was not called.
    Busy,
    /// The instance trapped.
    Trapped,
    /// The call exceeded its time limit.
    TimedOut,
    /// The plugin answered with an error.
    Refused,
}

impl FailureKind {
    /// Whether the circuit breaker counts it as a failure of the plugin.
    pub(crate) fn is_breakdown(self) -> bool {
        matches!(self, Self::Trapped | Self::TimedOut)
    }
}
