use anyhow::bail;

use super::output::{Format, write_json_line};
use super::source::Source;
use super::table;
use reflow_tracing::TraceId;

/// Show one trace with its events
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// The id of the trace
    trace_id: TraceId,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let trace_id = args.trace_id;
    let storage = args.source.open().await?;
    let Some(trace) = storage.get_trace(trace_id).await? else {
        let events = storage.get_events(trace_id).await?.len();
        storage.close().await?;
        match events {
            0 => bail!("trace {trace_id} is not in the store; `reflow-tracing query` lists the traces"),
            events => bail!(
                "trace {trace_id} has {events} events and no header yet: its sender has not started it. The host stores a \
                 header when the sender's connection ends"
            ),
        }
    };
    storage.close().await?;
    args.format.print(|out| match args.format {
        Format::Table => writeln!(out, "{}", table::of_trace(&trace).trim_end()),
        Format::Json | Format::Ndjson => write_json_line(out, &trace),
    })?;
    Ok(())
}
