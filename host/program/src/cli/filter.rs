use chrono::{DateTime, Utc};

use super::time::parse_time;
use reflow_tracing::{FlowId, TraceQuery};

/// Conditions on the headers of traces.
#[derive(clap::Args)]
pub(super) struct Filter {
    /// Only traces of this flow
    #[arg(long)]
    flow: Option<String>,
    /// Only traces that started at this time or later
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<DateTime<Utc>>,
    /// Only traces that started at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<DateTime<Utc>>,
}

impl Filter {
    /// The query with these conditions and no others.
    pub(super) fn query(&self) -> TraceQuery {
        let time_range = (self.since.is_some() || self.until.is_some()).then(|| {
            let bound = |time: Option<_>, nanos| time.unwrap_or_else(|| DateTime::from_timestamp_nanos(nanos));
            (bound(self.since, i64::MIN), bound(self.until, i64::MAX))
        });
        TraceQuery { flow_id: self.flow.clone().map(FlowId), time_range, ..TraceQuery::default() }
    }
}
