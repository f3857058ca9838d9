//! Writes to stdout in a thread of its own: a reader that does not read must not keep Ctrl-C from ending the program.

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::cli::output;
use crate::cli::printable::Place;

/// The lines that may wait.
const WAITING: usize = 1_024;

/// How long a reader may take for the lines that wait at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Prints lines.
pub(super) struct Writer {
    lines: mpsc::Sender<String>,
    result: oneshot::Receiver<io::Result<()>>,
}

/// The reader of stdout is gone, or stdout can't be written; [`Writer::finish`] has the reason.
pub(super) struct Closed;

impl Writer {
    /// Starts the thread, which escapes lines for a place or prints them as they are.
    pub(super) fn start(place: Option<Place>) -> io::Result<Self> {
        let (lines, receiver) = mpsc::channel(WAITING);
        let (sender, result) = oneshot::channel();
        std::thread::Builder::new().name("stdout".into()).spawn(move || {
            // The program may have ended.
            let _ = sender.send(print_all(place, receiver));
        })?;
        Ok(Self { lines, result })
    }

    /// Prints a line, with its end.
    pub(super) async fn write(&mut self, line: String) -> Result<(), Closed> {
        self.lines.send(line).await.map_err(|_| Closed)
    }

    /// Waits until everything is printed, for a while. A reader that is gone is not an error.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.lines);
        match tokio::time::timeout(LAST_LINES, self.result).await {
            Ok(Ok(result)) => result,
            // The reader does not read, so nobody misses the rest.
            _ => Ok(()),
        }
    }
}

fn print_all(place: Option<Place>, mut lines: mpsc::Receiver<String>) -> io::Result<()> {
    while let Some(first) = lines.blocking_recv() {
        let mut is_gone = true;
        output::print_in(place, |out| {
            out.write_all(first.as_bytes())?;
            // Those that are there already are written with it.
            while let Ok(line) = lines.try_recv() {
                out.write_all(line.as_bytes())?;
            }
            out.flush()?;
            is_gone = false;
            Ok(())
        })?;
        if is_gone {
            break;
        }
    }
    Ok(())
}
