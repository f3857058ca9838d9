//! The sort order of traces in SQL, which is the same in every dialect.

use reflow_tracing_model::SortOrder;

/// The direction of `ORDER BY start_time`. The trace id ascends in both orders.
pub fn direction(order: SortOrder) -> &'static str {
    match order {
        SortOrder::NewestFirst => "DESC",
        SortOrder::OldestFirst => "ASC",
    }
}

/// Compares a start time with that of the page's last trace: the same time or a later one in this order.
pub fn reach(order: SortOrder) -> &'static str {
    match order {
        SortOrder::NewestFirst => "<=",
        SortOrder::OldestFirst => ">=",
    }
}

/// The same for a later time only.
pub fn beyond(order: SortOrder) -> &'static str {
    match order {
        SortOrder::NewestFirst => "<",
        SortOrder::OldestFirst => ">",
    }
}
