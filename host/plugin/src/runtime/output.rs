//! What an instance prints to stdout and stderr. Its lines go to the host's log, within the rate limit of the plugin's own messages.
//! The last of them explain a trap: a panic, an exception and an assertion print their message before they stop the program.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::capabilities::granted::Granted;
use crate::contract::bindings::reflow::capabilities::log::Level;

/// The longest line, in bytes. A longer one is cut into several.
const MAX_LINE: usize = 4 * 1024;
/// The last lines that are kept: so many, and so many bytes.
const KEPT_LINES: usize = 12;
const KEPT_BYTES: usize = 2 * 1024;

/// The output of an instance.
pub(crate) struct Output {
    granted: Arc<Granted>,
    printed: Mutex<Printed>,
}

#[derive(Default)]
struct Printed {
    /// The begun lines of stdout and stderr.
    begun: [Vec<u8>; 2],
    /// The last complete lines of both.
    last: VecDeque<String>,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Output {
    /// The output of an instance with these grants.
    pub(crate) fn new(granted: Arc<Granted>) -> Arc<Self> {
        Arc::new(Self { granted, printed: Mutex::default() })
    }

    /// Its stdout.
    pub(crate) fn stdout(self: &Arc<Self>) -> impl StdoutStream + use<> {
        Handle { output: Arc::clone(self), stream: Stream::Stdout }
    }

    /// Its stderr.
    pub(crate) fn stderr(self: &Arc<Self>) -> impl StdoutStream + use<> {
        Handle { output: Arc::clone(self), stream: Stream::Stderr }
    }

    fn printed(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was printed before a call.
    pub(crate) fn forget(&self) {
        self.printed().last.clear();
    }

    /// The last lines since then, on one line; `None` if nothing was printed.
    pub(crate) fn last(&self) -> Option<String> {
        let mut printed = self.printed();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(&mut printed.begun[stream as usize]);
            self.line(&mut printed, stream, &line);
        }
        let lines: Vec<&str> = printed.last.iter().map(String::as_str).collect();
        (!lines.is_empty()).then(|| lines.join(" / "))
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut printed = self.printed();
        for part in bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(MAX_LINE)) {
            let begun = &mut printed.begun[stream as usize];
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") || begun.len() >= MAX_LINE {
                let line = std::mem::take(begun);
                self.line(&mut printed, stream, &line);
            }
        }
    }

    fn line(&self, printed: &mut Printed, stream: Stream, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let (level, name) = match stream {
            Stream::Stdout => (Level::Info, "stdout"),
            Stream::Stderr => (Level::Warn, "stderr"),
        };
        self.granted.log.write(level, &format!("{name}: {text}"));
        let cut = text.floor_char_boundary(KEPT_BYTES);
        printed.last.push_back(text[..cut].to_owned());
        while printed.last.len() > KEPT_LINES || printed.last.iter().map(String::len).sum::<usize>() > KEPT_BYTES {
            printed.last.pop_front();
        }
    }
}

/// One of the two streams.
#[derive(Clone)]
struct Handle {
    output: Arc<Output>,
    stream: Stream,
}

impl IsTerminal for Handle {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Handle {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    /// Written at once, so that nothing is missing when the instance traps.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Handle {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.output.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Handle {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Handle {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.output.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::capabilities::connections::ConnectionBudget;
    use crate::policy::PluginConfig;

    fn output() -> Arc<Output> {
        let connections = ConnectionBudget::new(1, &Arc::new(Semaphore::new(1)));
        Output::new(Arc::new(Granted::new("chatty", &PluginConfig::default(), &connections).expect("no grants")))
    }

    #[test]
    fn lines_of_both_streams_are_kept_in_their_order_also_the_begun_ones() {
        let output = output();
        assert_eq!(output.last(), None);
        output.write(Stream::Stderr, b"Trace");
        output.write(Stream::Stdout, b"one\n\ntwo\n");
        output.write(Stream::Stderr, b"back:\n  ValueError: no stock");
        assert_eq!(output.last().as_deref(), Some("one / two / Traceback: / ValueError: no stock"));
        output.forget();
        assert_eq!(output.last(), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let output = output();
        output.write(Stream::Stdout, &b"x".repeat(1_000_000));
        assert!(output.printed().begun[0].len() < MAX_LINE);
        for number in 0..1_000 {
            output.write(Stream::Stderr, format!("line {number}\n").as_bytes());
        }
        let last = output.last().expect("lines");
        assert!(last.len() <= KEPT_BYTES + 3 * KEPT_LINES, "{}", last.len());
        assert!(last.ends_with("line 998 / line 999 / ") || last.contains("line 998 / line 999"), "{last}");
        output.write(Stream::Stderr, "\u{1f4be}".repeat(KEPT_BYTES).as_bytes());
        assert!(output.last().is_some());
    }
}
