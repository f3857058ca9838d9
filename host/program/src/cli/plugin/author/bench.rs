use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use reflow_tracing::storage::{MemoryStorage, SqliteStorage, StorageBackend};
use reflow_tracing::{EventId, FlowId, FlowTrace, FlowVersion, MessageSnapshot, TraceEvent, TraceEventType, TraceId};

use super::test::StoreArgs;
use crate::cli::output;
use crate::cli::table::new_table;

/// Measure how fast a plugin stores and reads events, beside Memory and SQLite
///
/// Each store takes the same events of about 300 bytes in traces of 1,000, in batches. The processor time is that of the
/// whole program, so it includes the host's share. Use a release build of this program on a quiet machine.
#[derive(clap::Args)]
pub(in crate::cli::plugin) struct Args {
    /// The component, or a core module with an embedded world
    file: PathBuf,
    /// How many events to store
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    events: u64,
    /// How many events a batch has
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// How many batches are stored at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    writers: u64,
    #[command(flatten)]
    stores: StoreArgs,
}

const EVENTS_PER_TRACE: u64 = 1_000;

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let start = Instant::now();
    let stores = args.stores.stores(&args.file).await?;
    let compiled = start.elapsed();
    ensure!(
        !stores.check().await?.forwards,
        "the plugin answers no read, so there is nothing to read back: it is a forwarder"
    );
    let folder = tempfile::tempdir().context("can't create a temporary folder")?;
    let memory = measure(&MemoryStorage::default(), &args).await.context("memory")?;
    let sqlite = SqliteStorage::new(folder.path().join("traces.db")).await.context("sqlite")?;
    let sqlite_figures = measure(&sqlite, &args).await.context("sqlite")?;
    sqlite.close().await?;
    let start = Instant::now();
    let store = stores.open().await.context("can't open the plugin")?;
    let opened = start.elapsed();
    let figures = measure(&store.plugin, &args).await.with_context(|| stores.name.clone())?;
    store.plugin.close().await?;

    let mut table =
        new_table(["store", "stored/s", "processor, us an event", "beside SQLite", "read/s", "beside SQLite"]);
    let rows = [("memory", &memory), ("sqlite", &sqlite_figures), (stores.name.as_str(), &figures)];
    for (name, Figures { stored, read }) in rows {
        table.add_row([
            name.to_owned(),
            format!("{:.0}", stored.per_second()),
            stored.processor_micros().map_or("-".into(), |micros| format!("{micros:.1}")),
            format!("{:.2}", stored.per_second() / sqlite_figures.stored.per_second()),
            format!("{:.0}", read.per_second()),
            format!("{:.2}", read.per_second() / sqlite_figures.read.per_second()),
        ]);
    }
    output::print(|out| {
        writeln!(out, "{table}")?;
        writeln!(
            out,
            "compiled or loaded in {:.2} s, opened in {:.1} ms",
            compiled.as_secs_f64(),
            opened.as_secs_f64() * 1_000.0
        )
    })?;
    Ok(())
}

struct Figures {
    stored: Figure,
    read: Figure,
}

/// What a number of events took.
struct Figure {
    events: u64,
    time: Duration,
    processor: Option<Duration>,
}

impl Figure {
    fn per_second(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64().max(f64::EPSILON)
    }

    fn processor_micros(&self) -> Option<f64> {
        self.processor.map(|time| time.as_secs_f64() * 1e6 / self.events as f64)
    }
}

async fn measure(store: &dyn StorageBackend, args: &Args) -> anyhow::Result<Figures> {
    let traces: Vec<TraceId> = (0..args.events.div_ceil(EVENTS_PER_TRACE)).map(|_| TraceId::new()).collect();
    for &trace_id in &traces {
        let trace = FlowTrace { trace_id, ..FlowTrace::new(FlowId::new("bench"), FlowVersion::default()) };
        store.store_trace(trace).await?;
    }
    let events: Vec<_> =
        (0..args.events).map(|number| (traces[(number / EVENTS_PER_TRACE) as usize], event(number))).collect();
    let batches: Vec<_> = events.chunks(args.batch as usize).map(<[_]>::to_vec).collect();

    let (start, processor) = (Instant::now(), processor_time());
    let mut writing = futures::stream::FuturesUnordered::new();
    for batch in batches {
        if writing.len() >= args.writers as usize {
            futures::StreamExt::next(&mut writing).await.transpose()?;
        }
        writing.push(store.store_events(batch));
    }
    while let Some(stored) = futures::StreamExt::next(&mut writing).await {
        stored?;
    }
    let stored = Figure { events: args.events, time: start.elapsed(), processor: since(processor) };

    let (start, processor) = (Instant::now(), processor_time());
    let mut found = 0;
    for trace_id in traces {
        found += store.get_events(trace_id).await?.len() as u64;
    }
    ensure!(found == args.events, "{found} of {} events were read back: run the conformance suite", args.events);
    Ok(Figures { stored, read: Figure { events: args.events, time: start.elapsed(), processor: since(processor) } })
}

/// A message from one of ten actors to the next.
fn event(number: u64) -> TraceEvent {
    let mut event = TraceEvent {
        event_id: EventId::new(),
        timestamp: DateTime::<Utc>::from_timestamp_nanos(1_700_000_000_000_000_000 + number as i64 * 1_000),
        actor_id: format!("actor-{}", number % 10),
        event_type: TraceEventType::DataFlow {
            to_actor: format!("actor-{}", (number + 1) % 10),
            to_port: "input".into(),
        },
        ..TraceEvent::default()
    };
    event.data.port = Some("output".into());
    event.data.message = Some(MessageSnapshot {
        message_type: "Object".into(),
        size_bytes: 120,
        serialized_data: vec![b'x'; 120],
        ..MessageSnapshot::default()
    });
    event.causality.span_id = format!("span-{number}");
    event
}

/// The processor time of the whole process, where it is known.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}

fn since(start: Option<Duration>) -> Option<Duration> {
    processor_time()?.checked_sub(start?)
}
