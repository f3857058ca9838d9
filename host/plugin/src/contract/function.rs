//! The functions that a plugin exports.

/// A function of `reflow:storage/backend`, or of an optional interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Open,
    StoreTraces,
    StoreEvents,
    GetTraces,
    QueryTraces,
    GetEvents,
    DeleteTraces,
    GetStats,
    HealthCheck,
    Maintain,
    DropOldest,
}

impl Function {
    /// In the order of their declaration.
    pub(crate) const ALL: [Self; 11] = [
        Self::Open,
        Self::StoreTraces,
        Self::StoreEvents,
        Self::GetTraces,
        Self::QueryTraces,
        Self::GetEvents,
        Self::DeleteTraces,
        Self::GetStats,
        Self::HealthCheck,
        Self::Maintain,
        Self::DropOldest,
    ];

    /// Its name in the contract.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::StoreTraces => "store-traces",
            Self::StoreEvents => "store-events",
            Self::GetTraces => "get-traces",
            Self::QueryTraces => "query-traces",
            Self::GetEvents => "get-events",
            Self::DeleteTraces => "delete-traces",
            Self::GetStats => "get-stats",
            Self::HealthCheck => "health-check",
            Self::Maintain => "maintain",
            Self::DropOldest => "drop-oldest",
        }
    }

    /// Whether a retry, after a call that may have completed, returns the same answer.
    pub(crate) fn is_idempotent(self) -> bool {
        // A retry would count only the traces that the first call left.
        !matches!(self, Self::DeleteTraces | Self::DropOldest)
    }
}
