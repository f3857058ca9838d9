//! How a long command tells how far it is: with a bar on a terminal, with a line now and then elsewhere. On stderr, always.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use reflow_tracing::migration::{Digest, MigrationReport, OnProgress, Progress};

/// The time between two lines.
const EVERY: Duration = Duration::from_secs(5);
const BAR: &str = "{prefix} {wide_bar} {human_pos} of {human_len} traces, {msg}, {eta} left";

/// Tells of a copy on stderr.
pub(super) fn on_progress() -> OnProgress {
    let state = Mutex::new(if std::io::stderr().is_terminal() { State::bar() } else { State::lines() });
    Arc::new(move |progress| state.lock().unwrap_or_else(PoisonError::into_inner).tell(progress))
}

struct State {
    /// What is being done, since when, and how many events had been done by then.
    doing: &'static str,
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
    fn new(view: View) -> Self {
        Self { doing: "", since: Instant::now(), before: 0, total: 0, view }
    }

    fn bar() -> Self {
        let bar = ProgressBar::no_length();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::new(View::Bar(bar))
    }

    fn lines() -> Self {
        Self::new(View::Lines { last: Instant::now() })
    }

    fn tell(&mut self, progress: &Progress) {
        match progress {
            Progress::Started { traces, resumed } => {
                self.total = *traces;
                self.begin("copied", resumed);
            }
            Progress::Copied(digest) => self.show(digest),
            Progress::Compared(digest) => {
                if self.doing != "compared" {
                    self.begin("compared", &Digest::default());
                }
                self.show(digest);
            }
            Progress::Unreadable(what) => match &self.view {
                View::Bar(bar) => bar.suspend(|| line(&format!("left out: {what}"))),
                View::Lines { .. } => line(&format!("left out: {what}")),
            },
            _ => {}
        }
    }

    fn begin(&mut self, doing: &'static str, done: &Digest) {
        (self.doing, self.since, self.before) = (doing, Instant::now(), done.events);
        if let View::Bar(bar) = &self.view {
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.set_length(self.total);
            bar.set_prefix(doing);
            bar.set_position(done.traces);
            // The time left follows from what is done from here on.
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
                if last.elapsed() >= EVERY {
                    *last = Instant::now();
                    let Self { doing, total, .. } = self;
                    line(&format!("{doing} {traces} of {total} traces, {events} events, {rate:.0} events/s"));
                }
            }
        }
    }
}

fn line(text: &str) {
    // When nobody reads it there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What came of it, a line a figure.
pub(super) fn summary(report: &MigrationReport, done: &str) -> String {
    let Digest { traces, headerless, events, bytes, checksum } = report.copied;
    let seconds = report.took.as_secs_f64();
    let mut lines = vec![("traces", traces.to_string()), ("events", events.to_string())];
    let mut add = |name, count: u64, what: &str| {
        if count > 0 {
            lines.push((name, format!("{count}{what}")));
        }
    };
    add("headerless", headerless, " traces of which there are events only");
    add(
        "unfinished",
        report.unfinished,
        " traces had not ended when they were read; what they did since may be missing",
    );
    add("expired", report.expired, " traces are older than the target keeps: it deletes them");
    add("missed", report.missed, " traces came while this ran, with an early start; run it again to copy them");
    add(
        "unread",
        report.unread_events,
        " events were not read: of traces without a header, which the source can't list",
    );
    add("unreadable", report.unreadable, " places of the source can't be read; they are listed above");
    lines.push(("bytes", bytes.to_string()));
    lines.push(("took", format!("{seconds:.1} s, {:.0} events/s", events as f64 / seconds.max(1e-3))));
    lines.push(("checksum", format!("{checksum} of what was {done}")));
    if let Some(verification) = &report.verification {
        lines.push(("source", format!("{} when it was compared", verification.source.checksum)));
        lines.push(("target", format!("{} of the same traces", verification.target.checksum)));
        let mut add = |name, count: u64, what: &str| {
            if count > 0 {
                lines.push((name, format!("{count}{what}")));
            }
        };
        add("again", verification.copied_again, " traces had changed and were copied once more");
        add("more", verification.in_target_alone, " traces are in the target alone");
        add("differing", verification.differing, " traces differ:");
    }
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect();
    for trace_id in report.verification.iter().flat_map(|verification| &verification.first_differing) {
        text += &format!("  {trace_id}\n");
    }
    text
}
