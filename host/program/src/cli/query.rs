use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::filter::Filter;
use super::output::{self, Format, write_json_line};
use super::source::Source;
use super::table;
use crate::config::parse_duration;
use reflow_tracing::{ExecutionId, ExecutionStatus, SortOrder, TraceEventKind, TraceQuery};

/// Find traces in a store or in a running host
///
/// All conditions must hold. Times are RFC 3339, or how long ago: 30m, 2h, 7d.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    filter: Filter,
    /// Only the trace of this execution
    #[arg(long, value_name = "ID")]
    execution: Option<ExecutionId>,
    /// Only traces with this status: pending, running, completed, cancelled, failed, or failed:ERROR for this error
    #[arg(long, value_parser = parse_status)]
    status: Option<ExecutionStatus>,
    /// Only traces with an actor whose id contains this text
    #[arg(long, value_name = "TEXT")]
    actor: Option<String>,
    /// Only traces with an event of this type; repeat it to allow several types
    #[arg(long, value_name = "TYPE")]
    event_type: Vec<TraceEventKind>,
    /// Only traces with this tag; repeat it to require several tags
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_tag)]
    tag: Vec<(String, String)>,
    /// Only traces that took at least this long: 250ms, 2s, 1h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    min_duration: Option<Duration>,
    /// Only traces that took at most this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_duration: Option<Duration>,
    /// Only traces that failed or have an event with an error
    #[arg(long)]
    errors: bool,
    /// The most traces to print, up to 10000 [default: 100]
    #[arg(long)]
    limit: Option<usize>,
    /// The number of traces to skip
    #[arg(long)]
    offset: Option<usize>,
    /// Sort by start time, oldest first [default: newest first]
    #[arg(long)]
    oldest_first: bool,
    /// Continue after the page of an earlier run of the same query
    #[arg(long, value_name = "TOKEN", conflicts_with = "offset")]
    page_token: Option<String>,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Args {
    fn query(&self) -> TraceQuery {
        TraceQuery {
            execution_id: self.execution,
            status: self.status.clone(),
            actor_filter: self.actor.clone(),
            limit: self.limit,
            offset: self.offset,
            event_types: (!self.event_type.is_empty()).then(|| self.event_type.clone()),
            tags: BTreeMap::from_iter(self.tag.iter().cloned()),
            min_duration: self.min_duration,
            max_duration: self.max_duration,
            has_error: self.errors.then_some(true),
            order: if self.oldest_first { SortOrder::OldestFirst } else { SortOrder::NewestFirst },
            page_token: self.page_token.clone(),
            ..self.filter.query()
        }
    }
}

pub(super) fn parse_status(text: &str) -> Result<ExecutionStatus, String> {
    let (name, error) = text.split_once(':').unwrap_or((text, ""));
    match name.to_ascii_lowercase().as_str() {
        "failed" => Ok(ExecutionStatus::Failed { error: error.to_owned() }),
        "pending" if name == text => Ok(ExecutionStatus::Pending),
        "running" if name == text => Ok(ExecutionStatus::Running),
        "completed" if name == text => Ok(ExecutionStatus::Completed),
        "cancelled" if name == text => Ok(ExecutionStatus::Cancelled),
        _ => Err("expected pending, running, completed, cancelled, failed or failed:ERROR".into()),
    }
}

fn parse_tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let storage = args.source.open().await?;
    let page = storage.query_page(args.query().into()).await?;
    storage.close().await?;

    let count = page.traces.len();
    let next = page.next_page_token.map(|token| {
        let without_offset = if args.offset.is_some() { " instead of --offset" } else { "" };
        format!("more traces match: add --page-token {token}{without_offset} for the next page")
    });
    args.format.print(|out| match args.format {
        Format::Table => {
            let what = if count == 1 { "trace" } else { "traces" };
            if count > 0 {
                writeln!(out, "{}\n", table::of_traces(&page.traces))?;
            }
            match &next {
                Some(next) => writeln!(out, "{count} {what}; {next}"),
                None => writeln!(out, "{count} {what}"),
            }
        }
        Format::Json => {
            serde_json::to_writer(&mut *out, &page.traces)?;
            writeln!(out)
        }
        Format::Ndjson => page.traces.iter().try_for_each(|trace| write_json_line(out, trace)),
    })?;
    if let (Some(next), Format::Json | Format::Ndjson) = (next, args.format) {
        // stdout holds JSON only.
        let _ = writeln!(output::stderr(), "{next}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use clap::Parser;

    use super::*;
    use reflow_tracing::FlowId;

    #[derive(Parser)]
    struct Query {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<TraceQuery, clap::Error> {
        let words = line.split_whitespace();
        Ok(Query::try_parse_from(["query"].into_iter().chain(words))?.args.query())
    }

    #[test]
    fn the_default_is_the_newest_traces() {
        assert_eq!(parse("").unwrap(), TraceQuery::default());
    }

    #[test]
    fn every_predicate_has_a_flag() {
        let execution = ExecutionId::new();
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let line = format!(
            "--flow f --execution {execution} --since 2026-01-01T00:00:00Z --until 2026-01-02T00:00:00Z --status failed \
             --actor a --event-type DataFlow --event-type ActorFailed --tag k=v=w --tag l= --min-duration 1ms \
             --max-duration 2s --errors --limit 5 --offset 6 --oldest-first"
        );
        let expected = TraceQuery {
            flow_id: Some(FlowId::new("f")),
            execution_id: Some(execution),
            time_range: Some((time("2026-01-01T00:00:00Z"), time("2026-01-02T00:00:00Z"))),
            status: Some(ExecutionStatus::Failed { error: String::new() }),
            actor_filter: Some("a".into()),
            limit: Some(5),
            offset: Some(6),
            event_types: Some(vec![TraceEventKind::DataFlow, TraceEventKind::ActorFailed]),
            tags: BTreeMap::from([("k".into(), "v=w".into()), ("l".into(), String::new())]),
            min_duration: Some(Duration::from_millis(1)),
            max_duration: Some(Duration::from_secs(2)),
            has_error: Some(true),
            order: SortOrder::OldestFirst,
            page_token: None,
        };
        assert_eq!(parse(&line).unwrap(), expected);
        assert_eq!(parse("--page-token 1.2").unwrap().page_token.as_deref(), Some("1.2"));
    }

    #[test]
    fn an_open_time_range_has_the_widest_bound() {
        let (from, to) = parse("--since 1h").unwrap().time_range.unwrap();
        assert!(from < Utc::now() && to.timestamp_nanos_opt() == Some(i64::MAX));
    }

    #[test]
    fn invalid_arguments_are_refused() {
        for line in ["--status done", "--status running:x", "--tag k", "--event-type Foo", "--since soon", "--limit -1"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
