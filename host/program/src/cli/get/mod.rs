//! `get`: one trace, as it is or as what its actors did.

mod derived;

use anyhow::bail;
use reflow_tracing::TraceId;
use reflow_tracing::storage::StorageBackend;

use self::derived::View;
use super::output::{Format, write_json_line};
use super::source::Source;
use super::table;

/// Show one trace with its events, or what its actors did
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The id of the trace
    trace_id: TraceId,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    view: View,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let storage = args.source.open().await?;
    let shown = match args.view.part() {
        Some(part) => derived::show(&*storage, args.trace_id, part, args.format).await,
        None => show(&*storage, args.trace_id, args.format).await,
    };
    storage.close().await?;
    shown
}

async fn show(storage: &dyn StorageBackend, trace_id: TraceId, format: Format) -> anyhow::Result<()> {
    let Some(trace) = storage.get_trace(trace_id).await? else {
        match storage.get_events(trace_id).await?.len() {
            0 => return Err(missing(trace_id)),
            events => bail!(
                "trace {trace_id} has {events} events and no header yet: its sender has not started it. The host stores a \
                 header when the sender's connection ends"
            ),
        }
    };
    format.print(|out| match format {
        Format::Table => writeln!(out, "{}", table::of_trace(&trace).trim_end()),
        Format::Json | Format::Ndjson => write_json_line(out, &trace),
    })?;
    Ok(())
}

fn missing(trace_id: TraceId) -> anyhow::Error {
    anyhow::anyhow!("trace {trace_id} is not in the store; `reflow-tracing query` lists the traces")
}
