/// A method of the contract whose calls are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    StoreTrace,
    StoreTraces,
    StoreEvent,
    StoreEvents,
    GetTrace,
    GetEvents,
    GetHeaders,
    StreamEvents,
    StreamTraces,
    HeaderlessTraces,
    QueryTraces,
    QueryPage,
    QueryHeaders,
    CountTraces,
    FlowVersions,
    DeleteTrace,
    DeleteTraces,
    DeleteBefore,
    DropOldestPart,
    Stats,
    HealthCheck,
    Flush,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Write,
    Read,
    Query,
    Delete,
    Upkeep,
}

impl Call {
    pub(super) const ALL: [Self; 22] = [
        Self::StoreTrace,
        Self::StoreTraces,
        Self::StoreEvent,
        Self::StoreEvents,
        Self::GetTrace,
        Self::GetEvents,
        Self::GetHeaders,
        Self::StreamEvents,
        Self::StreamTraces,
        Self::HeaderlessTraces,
        Self::QueryTraces,
        Self::QueryPage,
        Self::QueryHeaders,
        Self::CountTraces,
        Self::FlowVersions,
        Self::DeleteTrace,
        Self::DeleteTraces,
        Self::DeleteBefore,
        Self::DropOldestPart,
        Self::Stats,
        Self::HealthCheck,
        Self::Flush,
    ];

    /// The method's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StoreTrace => "store_trace",
            Self::StoreTraces => "store_traces",
            Self::StoreEvent => "store_event",
            Self::StoreEvents => "store_events",
            Self::GetTrace => "get_trace",
            Self::GetEvents => "get_events",
            Self::GetHeaders => "get_headers",
            Self::StreamEvents => "stream_events",
            Self::StreamTraces => "stream_traces",
            Self::HeaderlessTraces => "headerless_traces",
            Self::QueryTraces => "query_traces",
            Self::QueryPage => "query_page",
            Self::QueryHeaders => "query_headers",
            Self::CountTraces => "count_traces",
            Self::FlowVersions => "flow_versions",
            Self::DeleteTrace => "delete_trace",
            Self::DeleteTraces => "delete_traces",
            Self::DeleteBefore => "delete_before",
            Self::DropOldestPart => "drop_oldest_part",
            Self::Stats => "stats",
            Self::HealthCheck => "health_check",
            Self::Flush => "flush",
        }
    }

    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::StoreTrace | Self::StoreTraces | Self::StoreEvent | Self::StoreEvents => Purpose::Write,
            Self::GetTrace | Self::GetEvents | Self::GetHeaders | Self::StreamEvents => Purpose::Read,
            Self::StreamTraces
            | Self::HeaderlessTraces
            | Self::QueryTraces
            | Self::QueryPage
            | Self::QueryHeaders
            | Self::CountTraces
            | Self::FlowVersions => Purpose::Query,
            Self::DeleteTrace | Self::DeleteTraces | Self::DeleteBefore | Self::DropOldestPart => Purpose::Delete,
            Self::Stats | Self::HealthCheck | Self::Flush => Purpose::Upkeep,
        }
    }
}
