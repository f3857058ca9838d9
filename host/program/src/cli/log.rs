//! The log of a host on stderr, written by a thread of its own: a reader that stands still (a full pipe, a stopped terminal) must not
//! stop the host. Lines for which there is no room are lost, and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::printable::{Place, Printable};

/// The lines that may wait.
const WAITING: usize = 1_024;
/// The bytes that are kept of a line.
const LINE: usize = 16 << 10;
/// How long a reader may take for the lines that wait at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

static LOG: OnceLock<Log> = OnceLock::new();

/// Writes lines. Clones write to the same log.
#[derive(Clone)]
pub(super) struct Log {
    lines: SyncSender<Line>,
    lost: Arc<AtomicU64>,
}

enum Line {
    Text(Vec<u8>),
    /// Answers once every line before it is written.
    End(SyncSender<()>),
}

/// The log of this process.
pub(super) fn start() -> Log {
    let start = || {
        let (lines, waiting) = mpsc::sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let log = Log { lines, lost: lost.clone() };
        let out = Printable::new(io::stderr(), Place::ColouredLines);
        // Without the thread, the lines are lost.
        let _ = thread::Builder::new().name("log".into()).spawn(move || write_all(&waiting, &lost, out));
        log
    };
    LOG.get_or_init(start).clone()
}

/// Waits until what was logged is written, for a while.
pub(super) fn finish() {
    let Some(log) = LOG.get() else { return };
    let until = Instant::now() + LAST_LINES;
    let (written, is_written) = mpsc::sync_channel(1);
    while let Err(TrySendError::Full(_)) = log.lines.try_send(Line::End(written.clone())) {
        if Instant::now() > until {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    drop(written);
    // The reader does not read, so nobody misses the rest.
    let _ = is_written.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// Each write is a line. None fails.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = line[..line.len().min(LINE)].to_vec();
        if text.len() < line.len() {
            text.extend_from_slice(b" [cut]\n");
        }
        if self.lines.try_send(Line::Text(text)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(lines: &Receiver<Line>, lost: &AtomicU64, mut out: impl Write) {
    while let Ok(line) = lines.recv() {
        // Lines that can't be written are lost.
        match line {
            Line::Text(text) => {
                let _ = out.write_all(&text);
            }
            Line::End(written) => {
                let _ = written.send(());
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "{lost} lines of the log were lost, because nobody read it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing until it is told to.
    struct Stopped(Receiver<()>, Vec<u8>, SyncSender<Vec<u8>>);

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Drop for Stopped {
        fn drop(&mut self) {
            let _ = self.2.send(std::mem::take(&mut self.1));
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_nothing_else() {
        let (lines, waiting) = mpsc::sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let mut log = Log { lines, lost: lost.clone() };
        let (go, stopped) = mpsc::channel();
        let (result, written) = mpsc::sync_channel(1);
        thread::spawn(move || write_all(&waiting, &lost, Stopped(stopped, Vec::new(), result)));
        for number in 0..2 * WAITING {
            log.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        log.write_all(&[b'x'; 2 * LINE]).unwrap();
        drop((log, go));
        let text = String::from_utf8(written.recv().unwrap()).unwrap();
        assert!(text.starts_with("0\n"), "{text}");
        let lost = text.lines().find(|line| line.contains("were lost")).expect("it is said");
        let lost: usize = lost.split(' ').next().unwrap().parse().unwrap();
        assert!((WAITING..WAITING + 2).contains(&lost), "{lost}");
    }
}
