//! Progress of a long command, on stderr: a bar on a terminal, else a line every few seconds.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output;
use super::printable::printable;
use reflow_tracing::migration::{Digest, MigrationReport, OnProgress, Progress};

/// The time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
const BAR: &str = "{prefix} {wide_bar} {human_pos} of {human_len} traces, {msg}, {eta} left";

/// Reports the progress of a copy on stderr.
pub(super) fn on_progress() -> OnProgress {
    let view = if std::io::stderr().is_terminal() {
        let bar = ProgressBar::no_length();
        bar.enable_steady_tick(Duration::from_millis(200));
        View::Bar(bar)
    } else {
        View::Lines { last: Instant::now() }
    };
    let state = Mutex::new(State { phase: "", since: Instant::now(), before: 0, total: 0, view });
    Arc::new(move |progress| state.lock().unwrap_or_else(PoisonError::into_inner).update(progress))
}

struct State {
    /// The current phase, its start, and the events that earlier runs had finished.
    phase: &'static str,
    since: Instant,
    before: u64,
    total: u64,
    view: View,
}

enum View {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl State {
    fn update(&mut self, progress: &Progress) {
        match progress {
            Progress::Started { traces, resumed } => {
                self.total = *traces;
                self.begin("copied", resumed);
            }
            Progress::Copied(digest) => self.show(digest),
            Progress::Compared(digest) => {
                if self.phase != "compared" {
                    self.begin("compared", &Digest::default());
                }
                self.show(digest);
            }
            Progress::Unreadable(what) => {
                let skipped = format!("skipped: {}", printable(what));
                match &self.view {
                    View::Bar(bar) => bar.suspend(|| line(&skipped)),
                    View::Lines { .. } => line(&skipped),
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, phase: &'static str, done: &Digest) {
        (self.phase, self.since, self.before) = (phase, Instant::now(), done.events);
        if let View::Bar(bar) = &self.view {
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.set_length(self.total);
            bar.set_prefix(phase);
            bar.set_position(done.traces);
            // Estimate the remaining time from the work of this run alone.
            bar.reset_elapsed();
            bar.reset_eta();
        }
    }

    fn show(&mut self, digest: &Digest) {
        let Digest { traces, events, .. } = digest;
        let seconds = self.since.elapsed().as_secs_f64().max(1e-3);
        let rate = events.saturating_sub(self.before) as f64 / seconds;
        match &mut self.view {
            View::Bar(bar) => {
                bar.set_position(*traces);
                bar.set_message(format!("{events} events, {rate:.0}/s"));
            }
            View::Lines { last } => {
                if last.elapsed() >= LINE_INTERVAL {
                    *last = Instant::now();
                    let Self { phase, total, .. } = self;
                    line(&format!("{phase} {traces} of {total} traces, {events} events, {rate:.0} events/s"));
                }
            }
        }
    }
}

fn line(text: &str) {
    // The reader may be gone; ignore the error.
    let _ = writeln!(output::stderr(), "{text}");
}

/// The result, one figure per line.
pub(super) fn summary(report: &MigrationReport, done: &str) -> String {
    let Digest { traces, headerless, events, bytes, checksum } = report.copied;
    let seconds = report.took.as_secs_f64();
    let mut lines = vec![("traces", traces.to_string()), ("events", events.to_string())];
    let counts = [
        ("headerless", headerless, "traces have events and no header"),
        (
            "unfinished",
            report.unfinished,
            "traces were still running when they were read; their later events may be missing",
        ),
        ("expired", report.expired, "traces are older than the retention of the target, which deletes them"),
        (
            "missed",
            report.missed,
            "traces arrived during the copy with an earlier start time; run it again to copy them",
        ),
        ("unread", report.unread_events, "events were not read: the source can't list traces without a header"),
        ("unreadable", report.unreadable, "records of the source can't be read; they are listed above"),
    ];
    lines.extend(counted(counts));
    lines.push(("bytes", bytes.to_string()));
    lines.push(("took", format!("{seconds:.1} s, {:.0} events/s", events as f64 / seconds.max(1e-3))));
    lines.push(("checksum", format!("{checksum} of what was {done}")));
    if let Some(verification) = &report.verification {
        lines.push(("source", format!("{} at the comparison", verification.source.checksum)));
        lines.push(("target", format!("{} of the same traces", verification.target.checksum)));
        lines.extend(counted([
            ("again", verification.copied_again, "traces had changed and were copied again"),
            ("more", verification.in_target_alone, "traces are only in the target"),
            ("differing", verification.differing, "traces differ:"),
        ]));
    }
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect();
    for trace_id in report.verification.iter().flat_map(|verification| &verification.first_differing) {
        text += &format!("  {trace_id}\n");
    }
    text
}

/// The lines whose count is not zero.
fn counted<'a, const N: usize>(counts: [(&'a str, u64, &'a str); N]) -> impl Iterator<Item = (&'a str, String)> {
    counts.into_iter().filter(|(_, count, _)| *count > 0).map(|(name, count, what)| (name, format!("{count} {what}")))
}
