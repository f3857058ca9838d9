//! Output on stdout.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;

use reflow_tracing::FlowTrace;

/// An output format for traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON value, in Reflow's encoding
    Json,
    /// One trace per line, in Reflow's encoding
    Ndjson,
}

/// Prints what `write` writes. A reader that closes the pipe early, like `head`, is not an error.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // Dropping the buffer would try to write the rest again.
            let _ = out.into_parts();
            Ok(())
        }
        result => result,
    }
}

/// A trace as one line of JSON.
pub(super) fn write_json_line(out: &mut dyn Write, trace: &FlowTrace) -> io::Result<()> {
    serde_json::to_writer(&mut *out, trace)?;
    writeln!(out)
}
