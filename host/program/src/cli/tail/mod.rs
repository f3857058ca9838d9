mod flows;
mod follow;
mod line;
mod writer;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZeroU64;
use std::pin::pin;

use clap::{ColorChoice, ValueEnum};
use futures::{StreamExt, TryStreamExt, future};

use super::host::HostArgs;
use super::output;
use super::printable::Place;
use super::query::parse_status;
use crate::ingest::SubscriptionFilters;
use flows::Flows;
use follow::{Follower, Notification};
use line::{Line, Lines};
use reflow_tracing::{ExecutionStatus, FlowId, TraceEventKind, TraceEventType};
use writer::Writer;

/// The events that may wait for the names of their flows.
const WAITING: usize = 256;

/// Follow the events of a running host, as they are stored
///
/// One line for each event, until Ctrl-C. When the host goes away, the command waits until it is back. All conditions must
/// hold; an option that is repeated allows several values.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// Only events of this flow
    #[arg(long, value_name = "FLOW")]
    flow: Vec<String>,
    /// Only events of the actor with this id
    #[arg(long, value_name = "ID")]
    actor: Vec<String>,
    /// Only events of this type, for example MessageSent
    #[arg(long = "type", visible_alias = "event-type", value_name = "TYPE")]
    kind: Vec<TraceEventKind>,
    /// Only events of traces with this status so far: running, failed, or failed:ERROR for this error
    #[arg(long, value_parser = parse_status)]
    status: Vec<ExecutionStatus>,
    /// Only events of the trace with this id, or whose id begins so
    #[arg(long, value_name = "ID", value_parser = parse_trace)]
    trace: Vec<String>,
    /// Only events that report an error
    #[arg(long)]
    errors: bool,
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// End with an error when the host goes away
    #[arg(long)]
    no_reconnect: bool,
    /// Print the whole ids of traces
    #[arg(long)]
    full_ids: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Colours; `auto` is on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON object per line: the id of the trace and the whole event, in Reflow's encoding
    #[value(alias = "ndjson")]
    Json,
}

/// The beginning of a trace id, without hyphens.
fn parse_trace(text: &str) -> Result<String, String> {
    let digits = text.replace('-', "").to_ascii_lowercase();
    match digits.len() {
        1..=32 if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(digits),
        _ => Err("expected the id of a trace, or its first digits, for example 64749864".into()),
    }
}

impl Args {
    /// What the host is asked for.
    fn filters(&self) -> SubscriptionFilters {
        fn any<T>(values: impl ExactSizeIterator<Item = T>) -> Option<Vec<T>> {
            (values.len() > 0).then(|| values.collect())
        }
        // An empty actor and port stand for any.
        let event_type = |kind: &TraceEventKind| {
            let Ok(event_type) =
                TraceEventType::from_columns(*kind, || Ok::<_, Infallible>((String::new(), String::new())));
            event_type
        };
        SubscriptionFilters {
            flow_ids: any(self.flow.iter().map(FlowId::new)),
            actor_ids: any(self.actor.iter().cloned()),
            event_types: any(self.kind.iter().map(event_type)),
            status_filter: any(self.status.iter().cloned()),
        }
    }

    /// What the host can't be asked for.
    fn wants(&self, notification: &Notification) -> bool {
        let id = || notification.trace_id.0.simple().to_string();
        (!self.errors || notification.event.is_error())
            && (self.trace.is_empty() || self.trace.iter().any(|trace| id().starts_with(trace)))
    }

    /// The flow of every event, if the conditions say it.
    fn only_flow(&self) -> Option<FlowId> {
        let flows: BTreeSet<_> = self.flow.iter().collect();
        flows.first().filter(|_| flows.len() == 1).map(|flow| FlowId::new(flow.as_str()))
    }

    fn is_coloured(&self) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                output::is_terminal()
                    && !is_set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let url = args.host.url()?;
    let place = match args.format {
        Format::Table => Some(Place::ColouredLines),
        Format::Json => output::is_terminal().then_some(Place::Json),
    };
    let mut out = Writer::start(place)?;
    let follow = async {
        let follower = Follower::connect(url.clone(), args.filters(), !args.no_reconnect).await?;
        let flows = match args.format {
            Format::Table => Some(Flows::new(url, args.only_flow())),
            Format::Json => None,
        };
        let mut lines = Lines::new(args.is_coloured(), args.full_ids);
        let wanted = follower.notifications().try_filter(|notification| future::ready(args.wants(notification)));
        // An error waits as well for the lines before it.
        let named = wanted.map(|notification| async {
            let notification = notification?;
            let flow = match &flows {
                Some(flows) => flows.of(notification.trace_id).await,
                None => None,
            };
            anyhow::Ok((notification, flow))
        });
        let count = args.count.map_or(usize::MAX, |count| usize::try_from(count.get()).unwrap_or(usize::MAX));
        let mut named = pin!(named.buffered(WAITING).take(count));
        while let Some((notification, flow)) = named.try_next().await? {
            let line = match args.format {
                Format::Table => lines.line(&Line { notification: &notification, flow: flow.as_ref() }),
                Format::Json => serde_json::to_string(&notification)? + "\n",
            };
            if out.write(line).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    };
    let followed = tokio::select! {
        followed = follow => followed,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    };
    // What came before an error is printed.
    let written = out.finish().await;
    followed?;
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use reflow_tracing::{TraceEvent, TraceId};

    #[derive(Parser)]
    struct Tail {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Ok(Tail::try_parse_from(["tail"].into_iter().chain(line.split_whitespace()))?.args)
    }

    #[test]
    fn without_conditions_everything_is_asked_for() {
        let args = parse("").unwrap();
        assert_eq!(args.filters(), SubscriptionFilters::default());
        assert!(args.wants(&Notification { trace_id: TraceId::new(), event: TraceEvent::default() }));
    }

    #[test]
    fn the_host_is_asked_for_what_it_can_choose() {
        let args = parse("--flow f --flow g --actor a --type DataFlow --type ActorFailed --status failed").unwrap();
        let any_target = TraceEventType::DataFlow { to_actor: String::new(), to_port: String::new() };
        let expected = SubscriptionFilters {
            flow_ids: Some(vec![FlowId::new("f"), FlowId::new("g")]),
            actor_ids: Some(vec!["a".into()]),
            event_types: Some(vec![any_target, TraceEventType::ActorFailed]),
            status_filter: Some(vec![ExecutionStatus::Failed { error: String::new() }]),
        };
        assert_eq!(args.filters(), expected);
        assert_eq!(args.only_flow(), None);
        assert_eq!(parse("--flow f --flow f").unwrap().only_flow(), Some(FlowId::new("f")));
    }

    #[test]
    fn errors_and_traces_are_chosen_here() {
        let trace_id: TraceId = "64749864-655c-45d0-b056-02f3ad0653fc".parse().unwrap();
        let failed = TraceEvent { event_type: TraceEventType::ActorFailed, ..TraceEvent::default() };
        let wants = |line: &str, event: &TraceEvent| {
            parse(line).unwrap().wants(&Notification { trace_id, event: event.clone() })
        };
        assert!(wants("--errors", &failed) && !wants("--errors", &TraceEvent::default()));
        assert!(wants("--trace 64749864-655C", &failed) && wants("--trace 1 --trace 6474", &failed));
        assert!(!wants("--trace 749864", &failed));
        assert!(wants(&format!("--trace {trace_id} --errors"), &failed));
    }

    #[test]
    fn a_bad_condition_is_refused_with_its_form() {
        for (line, part) in [
            ("--trace orders", "first digits"),
            ("--trace -", "first digits"),
            ("--type Sent", "MessageSent"),
            ("--status lost", "failed:ERROR"),
            ("--server http://h:1", "ws:// instead of http://"),
            ("--count 0", "0"),
        ] {
            let error = parse(line).err().unwrap().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
