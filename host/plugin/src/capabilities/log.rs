//! `reflow:capabilities/log`: the host's log, tagged with the plugin, and kept readable whatever the plugin writes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bindings::reflow::capabilities::log::{Host, Level};
use crate::instance::InstanceState;

/// The longest message, in bytes.
const MAX_BYTES: usize = 8 * 1024;
/// Messages in each `PERIOD`: more than anyone reads, fewer than fill a disk.
const MOST: u32 = 100;
const PERIOD: Duration = Duration::from_secs(1);

/// What a plugin writes to the log, or is written there because of it: at most so much in a second, whatever the number of
/// its instances.
pub(crate) struct PluginLog {
    plugin: String,
    period: Mutex<Period>,
}

struct Period {
    began: Instant,
    written: u32,
    left_out: u64,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Written, after so many were left out.
    Written { left_out: u64 },
    /// Left out, as the first of its period or not.
    LeftOut { first: bool },
}

impl PluginLog {
    pub(crate) fn new(plugin: &str) -> Self {
        let period = Period { began: Instant::now(), written: 0, left_out: 0 };
        Self { plugin: plugin.into(), period: Mutex::new(period) }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// A warning because of something that the plugin does.
    pub(crate) fn warn(&self, message: &str) {
        self.write(Level::Warn, message);
    }

    fn write(&self, level: Level, message: &str) {
        // What no one wants to see is not counted either.
        if !enabled(level) {
            return;
        }
        let plugin = self.plugin();
        let fate = self.period.lock().unwrap_or_else(PoisonError::into_inner).fate(Instant::now());
        match fate {
            Fate::Written { left_out: 0 } => {}
            Fate::Written { left_out } => tracing::warn!(plugin, "{left_out} messages were left out before this one"),
            Fate::LeftOut { first: true } => {
                tracing::warn!(plugin, "more than {MOST} messages in a second; the others are left out");
                return;
            }
            Fate::LeftOut { first: false } => return,
        }
        let message = presentable(message);
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
        let left_out = self.period.get_mut().unwrap_or_else(PoisonError::into_inner).left_out;
        if left_out > 0 {
            tracing::warn!(plugin = self.plugin, "{left_out} messages were left out at the end");
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
    fn fate(&mut self, now: Instant) -> Fate {
        if now.saturating_duration_since(self.began) >= PERIOD {
            self.began = now;
            self.written = 0;
        }
        if self.written >= MOST {
            self.left_out += 1;
            // One more than the most: the notice was written.
            let first = self.written == MOST;
            self.written = MOST + 1;
            return Fate::LeftOut { first };
        }
        self.written += 1;
        Fate::Written { left_out: std::mem::take(&mut self.left_out) }
    }
}

/// The message on one line, without anything that a terminal would obey, and not too long.
fn presentable(message: &str) -> String {
    let mut text = String::with_capacity(message.len().min(MAX_BYTES));
    for char in message.chars() {
        if text.len() + char.len_utf8() > MAX_BYTES {
            text.push_str(&format!(".. (cut: {} bytes in all)", message.len()));
            break;
        }
        if char.is_control() || is_direction(char) {
            text.extend(char.escape_default());
        } else {
            text.push(char);
        }
    }
    text
}

/// Characters that turn the direction of the text after them, or begin a new line for some readers.
fn is_direction(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Host for InstanceState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.granted.log.write(level, &message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_text() {
        assert_eq!(presentable("one\ntwo\u{1b}[31m\tred \u{e9}\u{202e}"), "one\\ntwo\\u{1b}[31m\\tred \u{e9}\\u{202e}");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "\u{1f4be}".repeat(MAX_BYTES);
        let cut = presentable(&long);
        assert!(cut.len() < MAX_BYTES + 100, "{}", cut.len());
        assert!(cut.ends_with(&format!("({} bytes in all)", long.len())) || cut.contains("bytes in all"), "{cut}");
        assert!(cut.starts_with(&"\u{1f4be}".repeat(MAX_BYTES / 4)));
    }

    #[test]
    fn a_flood_is_left_out_and_counted() {
        let began = Instant::now();
        let mut period = Period { began, written: 0, left_out: 0 };
        for _ in 0..MOST {
            assert_eq!(period.fate(began), Fate::Written { left_out: 0 });
        }
        assert_eq!(period.fate(began), Fate::LeftOut { first: true });
        assert_eq!(period.fate(began), Fate::LeftOut { first: false });
        assert_eq!(period.fate(began + PERIOD), Fate::Written { left_out: 2 });
        assert_eq!(period.fate(began + PERIOD), Fate::Written { left_out: 0 });
    }
}
