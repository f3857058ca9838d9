//! What goes to stdout.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;

use reflow_tracing::FlowTrace;

/// How traces are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON value, in Reflow's encoding
    Json,
    /// One trace a line, in Reflow's encoding
    Ndjson,
}

/// Prints what `write` writes. A reader that has seen enough, like `head`, is no error.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // What is left in the buffer would be tried again when the buffer is dropped.
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
