/// The purpose of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Stores data.
    Write,
    /// Reads by id.
    Read,
    /// Answers a query.
    Query,
    /// Deletes data.
    Delete,
    /// Anything else.
    Maintenance,
}

/// Defines [`Call`] from the methods of the contract.
macro_rules! calls {
    ($($call:ident $method:ident $purpose:ident,)+) => {
        /// A method of the contract, or of [`StorageExtras`](crate::StorageExtras).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Call {
            $(
                #[doc = concat!("`", stringify!($method), "`.")]
                $call,
            )+
        }

        impl Call {
            /// Every method.
            pub const ALL: &[Self] = &[$(Self::$call),+];

            /// The name of the method.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$call => stringify!($method),)+
                }
            }

            /// The purpose of the method.
            pub fn purpose(self) -> Purpose {
                match self {
                    $(Self::$call => Purpose::$purpose,)+
                }
            }
        }
    };
}

calls! {
    StoreTrace store_trace Write,
    StoreTraces store_traces Write,
    StoreEvent store_event Write,
    StoreEvents store_events Write,
    GetTrace get_trace Read,
    GetEvents get_events Read,
    GetHeaders get_headers Read,
    StreamEvents stream_events Read,
    StreamTraces stream_traces Query,
    QueryTraces query_traces Query,
    QueryPage query_page Query,
    FlowVersions flow_versions Query,
    HeaderlessTraces headerless_traces Query,
    BeginTraces begin_traces Write,
    LeaveTraces leave_traces Write,
    AbandonedTraces abandoned_traces Query,
    Delete delete Delete,
    DropOldestPartition drop_oldest_partition Delete,
    Stats stats Maintenance,
    GetMetrics get_metrics Maintenance,
    HealthCheck health_check Maintenance,
    RenewLease renew_lease Maintenance,
    Flush flush Maintenance,
    Close close Maintenance,
}
