//! `reflow:capabilities/log`: writes to the host's log, tagged with the plugin, escaped and rate-limited.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::contract::bindings::reflow::capabilities::log::Level;

/// The longest message, in bytes.
const MAX_BYTES: usize = 8 * 1024;
/// Maximum messages per `PERIOD`, so that a plugin can't fill the disk.
const MAX_MESSAGES: u32 = 100;
const PERIOD: Duration = Duration::from_secs(1);

/// The log of a plugin: its own messages, and the host's warnings about it. The rate limit covers all its instances.
pub(crate) struct PluginLog {
    plugin: String,
    period: Mutex<Period>,
}

struct Period {
    began: Instant,
    written: u32,
    dropped: u64,
}

/// The decision of the rate limit about a message.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Write it. `dropped` messages were dropped before it.
    Write { dropped: u64 },
    /// Drop it. `first` in its period or not.
    Drop { first: bool },
}

impl PluginLog {
    pub(crate) fn new(plugin: &str) -> Self {
        let period = Period { began: Instant::now(), written: 0, dropped: 0 };
        Self { plugin: plugin.into(), period: Mutex::new(period) }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Writes a warning about the plugin.
    pub(crate) fn warn(&self, message: &str) {
        self.write(Level::Warn, message);
    }

    /// Writes a message of the plugin.
    pub(crate) fn write(&self, level: Level, message: &str) {
        // Messages below the host's level don't count towards the rate limit.
        if !enabled(level) {
            return;
        }
        let plugin = self.plugin();
        let decision = self.period.lock().unwrap_or_else(PoisonError::into_inner).decide(Instant::now());
        match decision {
            Decision::Write { dropped: 0 } => {}
            Decision::Write { dropped } => tracing::warn!(plugin, "{dropped} messages were dropped before this one"),
            Decision::Drop { first: true } => {
                tracing::warn!(plugin, "more than {MAX_MESSAGES} messages in a second; the others are dropped");
                return;
            }
            Decision::Drop { first: false } => return,
        }
        let message = sanitize(message);
        match level {
            Level::Trace => tracing::trace!(plugin, "{message}"),
            Level::Debug => tracing::debug!(plugin, "{message}"),
            Level::Info => tracing::info!(plugin, "{message}"),
            Level::Warn => tracing::warn!(plugin, "{message}"),
            Level::Error => tracing::error!(plugin, "{message}"),
        }
    }
}

impl Drop for PluginLog {
    fn drop(&mut self) {
        let dropped = self.period.get_mut().unwrap_or_else(PoisonError::into_inner).dropped;
        if dropped > 0 {
            tracing::warn!(plugin = self.plugin, "{dropped} messages were dropped at the end");
        }
    }
}

fn enabled(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(tracing::Level::INFO),
        Level::Warn => tracing::enabled!(tracing::Level::WARN),
        Level::Error => tracing::enabled!(tracing::Level::ERROR),
    }
}

impl Period {
    fn decide(&mut self, now: Instant) -> Decision {
        if now.saturating_duration_since(self.began) >= PERIOD {
            self.began = now;
            self.written = 0;
        }
        if self.written >= MAX_MESSAGES {
            self.dropped += 1;
            // One above the maximum marks that the warning was written.
            let first = self.written == MAX_MESSAGES;
            self.written = MAX_MESSAGES + 1;
            return Decision::Drop { first };
        }
        self.written += 1;
        Decision::Write { dropped: std::mem::take(&mut self.dropped) }
    }
}

/// The message on one line, without terminal control characters, truncated to `MAX_BYTES`.
fn sanitize(message: &str) -> String {
    let mut text = String::with_capacity(message.len().min(MAX_BYTES));
    for char in message.chars() {
        if text.len() + char.len_utf8() > MAX_BYTES {
            text.push_str(&format!(".. (cut: {} bytes in all)", message.len()));
            break;
        }
        if char.is_control() || is_bidi_or_line_separator(char) {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text
}

/// Characters that change the text direction, or begin a new line in some viewers.
fn is_bidi_or_line_separator(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_text() {
        assert_eq!(sanitize("one\ntwo\u{1b}[31m\tred \u{e9}\u{202e}"), "one\\ntwo\\u{1b}[31m\\tred \u{e9}\\u{202e}");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "\u{1f4be}".repeat(MAX_BYTES);
        let cut = sanitize(&long);
        assert!(cut.len() < MAX_BYTES + 100, "{}", cut.len());
        assert!(cut.ends_with(&format!("({} bytes in all)", long.len())) || cut.contains("bytes in all"), "{cut}");
        assert!(cut.starts_with(&"\u{1f4be}".repeat(MAX_BYTES / 4)));
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let began = Instant::now();
        let mut period = Period { began, written: 0, dropped: 0 };
        for _ in 0..MAX_MESSAGES {
            assert_eq!(period.decide(began), Decision::Write { dropped: 0 });
        }
        assert_eq!(period.decide(began), Decision::Drop { first: true });
        assert_eq!(period.decide(began), Decision::Drop { first: false });
        assert_eq!(period.decide(began + PERIOD), Decision::Write { dropped: 2 });
        assert_eq!(period.decide(began + PERIOD), Decision::Write { dropped: 0 });
    }
}
