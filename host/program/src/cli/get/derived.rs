//! What the actors of a trace did: tables and JSON of what `reflow_tracing::spans` derives from its events.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use reflow_tracing::TraceId;
use reflow_tracing::spans::{Activation, Actor, Edge, Name, Quantiles, Report, Spans};
use reflow_tracing::storage::StorageBackend;
use serde::Serialize;

use super::missing;
use crate::cli::output::Format;
use crate::cli::printable::printable;
use crate::cli::table::{display_time, new_table};
use crate::cli::time::display_nanos;

/// What to show of a trace in place of its events.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(super) struct View {
    /// Show statistics of each actor: activations, errors, messages, latencies
    #[arg(long)]
    actors: bool,
    /// Show statistics of the messages from each port to each other
    #[arg(long)]
    graph: bool,
    /// Show each activation: a message, and what its actor did with it
    #[arg(long)]
    spans: bool,
    /// Show numbers, failures, the first failure in causal order, and the critical path
    #[arg(long)]
    stats: bool,
}

/// A part of the report.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Actors,
    Graph,
    Spans,
    Stats,
}

impl View {
    /// The part that was asked for.
    pub(super) fn part(&self) -> Option<Part> {
        let parts = [
            (self.actors, Part::Actors),
            (self.graph, Part::Graph),
            (self.spans, Part::Spans),
            (self.stats, Part::Stats),
        ];
        parts.into_iter().find_map(|(wanted, part)| wanted.then_some(part))
    }
}

pub(super) async fn show(
    storage: &dyn StorageBackend,
    trace_id: TraceId,
    part: Part,
    format: Format,
) -> anyhow::Result<()> {
    let mut spans = Spans::default();
    let mut events = storage.stream_events(trace_id);
    let mut start = None;
    while let Some(event) = events.try_next().await? {
        start.get_or_insert(event.timestamp);
        spans.add(&event);
    }
    drop(events);
    let Some(start) = start else { return Err(missing(trace_id)) };
    let report = spans.report();
    if report.left_out > 0 {
        tracing::warn!("{} events are left out: the trace is too large to be shown whole", report.left_out);
    }
    format.print(|out| match (format, part) {
        (Format::Table, Part::Actors) => writeln!(out, "{}", actors(&report.actors)),
        (Format::Table, Part::Graph) => writeln!(out, "{}", edges(&report.edges)),
        (Format::Table, Part::Spans) => writeln!(out, "{}", activations(&report.activations, start)),
        (Format::Table, Part::Stats) => write_stats(out, &report, start),
        (Format::Json, Part::Stats) => write_line(out, &Stats::of(&report)),
        (Format::Json, Part::Actors) => write_line(out, &report.actors),
        (Format::Json, Part::Graph) => write_line(out, &report.edges),
        (Format::Json, Part::Spans) => write_line(out, &report.activations),
        (Format::Ndjson, Part::Stats) => write_line(out, &Stats::of(&report)),
        (Format::Ndjson, Part::Actors) => report.actors.iter().try_for_each(|actor| write_line(out, actor)),
        (Format::Ndjson, Part::Graph) => report.edges.iter().try_for_each(|edge| write_line(out, edge)),
        (Format::Ndjson, Part::Spans) => report.activations.iter().try_for_each(|one| write_line(out, one)),
    })?;
    Ok(())
}

fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// The report without its lists of activations, actors and edges.
#[derive(Serialize)]
struct Stats<'a> {
    activations: usize,
    open: usize,
    failed: usize,
    actors: usize,
    edges: usize,
    critical_path: Vec<&'a Activation>,
    first_failure: Option<FirstFailure<'a>>,
    failures: &'a [reflow_tracing::spans::FailureGroup],
    left_out: u64,
}

/// The first failure, with the activations that led to it.
#[derive(Serialize)]
struct FirstFailure<'a> {
    #[serde(flatten)]
    failure: &'a reflow_tracing::spans::Failure,
    led_to_by: Vec<&'a Activation>,
}

impl<'a> Stats<'a> {
    fn of(report: &'a Report) -> Self {
        let at = |path: &[usize]| path.iter().map(|index| &report.activations[*index]).collect();
        let count = |is: fn(&Activation) -> bool| report.activations.iter().filter(|one| is(one)).count();
        Self {
            activations: report.activations.len(),
            open: count(|one| one.ended.is_none()),
            failed: count(|one| one.failed),
            actors: report.actors.len(),
            edges: report.edges.len(),
            critical_path: at(&report.critical_path),
            first_failure: report
                .first_failure
                .as_ref()
                .map(|failure| FirstFailure { failure, led_to_by: at(&failure.path) }),
            failures: &report.failures,
            left_out: report.left_out,
        }
    }
}

fn write_stats(out: &mut dyn Write, report: &Report, start: DateTime<Utc>) -> io::Result<()> {
    let stats = Stats::of(report);
    writeln!(out, "{:<16}{} ({} open, {} failed)", "activations", stats.activations, stats.open, stats.failed)?;
    writeln!(out, "{:<16}{} with {} edges between ports", "actors", stats.actors, stats.edges)?;
    if let Some(first) = &stats.first_failure {
        let failure = first.failure;
        let text = failure.error.as_deref().unwrap_or("no text");
        let (actor, time) = (printable(&failure.actor), display_time(failure.time));
        writeln!(out, "{:<16}{actor} at {time}: {}", "first failure", printable(text))?;
    }
    if !stats.failures.is_empty() {
        let mut table = new_table(["COUNT", "ACTOR", "ERROR", "FIRST", "LAST"]);
        for group in stats.failures {
            table.add_row([
                group.count.to_string(),
                text(&group.actor),
                group.error.as_ref().map_or_else(|| "-".into(), text),
                display_time(group.first),
                display_time(group.last),
            ]);
        }
        writeln!(out, "\nfailures\n{}", table.trim_fmt())?;
    }
    let path = |activations: &[&Activation]| self::activations(activations.iter().copied(), start);
    if let Some(first) = stats.first_failure.filter(|first| first.led_to_by.len() > 1) {
        writeln!(out, "\nwhat led to the first failure\n{}", path(&first.led_to_by))?;
    }
    writeln!(out, "\ncritical path\n{}", path(&stats.critical_path))
}

fn actors(actors: &[Actor]) -> String {
    let mut table = new_table([
        "ACTOR",
        "ENDED",
        "OPEN",
        "FAILED",
        "RECEIVED",
        "SENT",
        "LATENCY P50",
        "P95",
        "P99",
        "EXECUTION P50",
        "WAITING P50",
    ]);
    for actor in actors {
        let [p50, p95, p99] = quantiles(actor.latency);
        table.add_row([
            text(&actor.actor),
            actor.ended.to_string(),
            actor.open.to_string(),
            actor.failed.to_string(),
            actor.received.messages.to_string(),
            actor.sent.messages.to_string(),
            p50,
            p95,
            p99,
            nanos(actor.execution.map(|times| times.p50_ns)),
            nanos(actor.waiting.map(|times| times.p50_ns)),
        ]);
    }
    table.trim_fmt()
}

fn edges(edges: &[Edge]) -> String {
    let mut table =
        new_table(["FROM", "TO", "MESSAGES", "BYTES", "OPEN", "FAILED", "LATENCY P50", "P95", "P99", "WAITING P50"]);
    for edge in edges {
        let [p50, p95, p99] = quantiles(edge.latency);
        table.add_row([
            port(&edge.from_actor, edge.from_port.as_ref()),
            port(&edge.to_actor, Some(&edge.to_port)),
            edge.traffic.messages.to_string(),
            edge.traffic.bytes.to_string(),
            edge.open.to_string(),
            edge.failed.to_string(),
            p50,
            p95,
            p99,
            nanos(edge.waiting.map(|times| times.p50_ns)),
        ]);
    }
    table.trim_fmt()
}

fn activations<'a>(activations: impl IntoIterator<Item = &'a Activation>, start: DateTime<Utc>) -> String {
    let mut table = new_table(["OFFSET", "ACTOR", "MESSAGE FROM", "LATENCY", "EXECUTION", "WAITING", "STATE"]);
    for activation in activations {
        let message = activation.message.as_ref();
        let begun = message.map(|message| message.time).or(activation.ended);
        let offset = begun.and_then(|begun| (begun - start).num_nanoseconds());
        table.add_row([
            offset.map_or_else(|| "-".into(), display_nanos),
            text(&activation.actor),
            message.map_or_else(|| "-".into(), |message| port(&message.from_actor, message.from_port.as_ref())),
            nanos(activation.latency_ns),
            nanos(activation.execution_ns),
            nanos(activation.waiting_ns),
            match (&activation.error, activation.failed, activation.ended) {
                (Some(error), ..) => format!("failed: {}", printable(error)),
                (None, true, _) => "failed".into(),
                (None, false, Some(_)) => "ended".into(),
                (None, false, None) => "open".into(),
            },
        ]);
    }
    table.trim_fmt()
}

/// p50, p95 and p99.
fn quantiles(times: Option<Quantiles>) -> [String; 3] {
    let of = |of: fn(Quantiles) -> u64| nanos(times.map(of));
    [of(|times| times.p50_ns), of(|times| times.p95_ns), of(|times| times.p99_ns)]
}

/// A time that may not have been measured.
fn nanos(nanos: Option<u64>) -> String {
    nanos.map_or_else(|| "-".into(), |nanos| display_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)))
}

fn text(name: &Name) -> String {
    printable(name).into_owned()
}

fn port(actor: &Name, port: Option<&Name>) -> String {
    match port {
        Some(port) => format!("{}.{}", printable(actor), printable(port)),
        None => text(actor),
    }
}
