//! What the SQL backends share: the columns of an event, and the sort order of traces.

mod event;

use reflow_tracing_model::SortOrder;

pub use event::{EVENT_COLUMNS, EventColumns, EventRow, Value, read_event};

/// The direction of `ORDER BY start_time`. The trace id ascends in both orders.
pub fn direction(order: SortOrder) -> &'static str {
    match order {
        SortOrder::NewestFirst => "DESC",
        SortOrder::OldestFirst => "ASC",
    }
}

/// The operator for a start time that is the same as that of the page's last trace, or later in this order.
pub fn reach(order: SortOrder) -> &'static str {
    match order {
        SortOrder::NewestFirst => "<=",
        SortOrder::OldestFirst => ">=",
    }
}

/// The operator for a start time that is later in this order.
pub fn beyond(order: SortOrder) -> &'static str {
    match order {
        SortOrder::NewestFirst => "<",
        SortOrder::OldestFirst => ">",
    }
}
