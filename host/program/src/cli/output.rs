//! Output on stdout and stderr, in which nothing controls the terminal.

use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;

use super::printable::{Place, Printable};
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

impl Format {
    /// Prints what `write` writes in this format.
    pub(super) fn print(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Table => print(write),
            Self::Json | Self::Ndjson => print_json(write),
        }
    }
}

/// Prints the lines that `write` writes. A reader that closes the pipe early, like `head`, is not an error.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    print_in(Some(Place::Lines), write)
}

/// Prints the JSON that `write` writes: as it is for programs, escaped for a terminal.
pub(super) fn print_json(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    print_in(is_terminal().then_some(Place::Json), write)
}

/// Prints what `write` writes, escaped for a place or as it is.
pub(super) fn print_in(place: Option<Place>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match place {
        Some(place) => write(&mut Printable::new(&mut out, place)),
        None => write(&mut out),
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            // Dropping the buffer would try to write the rest again.
            let _ = out.into_parts();
            Ok(())
        }
        result => result,
    }
}

/// Whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Lines on stderr, for people. The reader may be gone; ignore the error.
pub(super) fn stderr() -> impl Write {
    Printable::new(io::stderr(), Place::Lines)
}

/// A trace as one line of JSON.
pub(super) fn write_json_line(out: &mut dyn Write, trace: &FlowTrace) -> io::Result<()> {
    serde_json::to_writer(&mut *out, trace)?;
    writeln!(out)
}
