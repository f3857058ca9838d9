//! The lifetime of traces: each write to a trace sets the time at which the whole trace expires.

use reflow_tracing_plugin::redis::{Command, Connection};
use reflow_tracing_plugin::{Result, StorageError, Uuid};

use crate::key;
use crate::settings::Settings;

/// When a trace that is written to now expires.
#[derive(Debug, Clone, Copy)]
pub enum Lifetime {
    /// Never.
    Forever,
    /// By the server's clock, in milliseconds since the epoch.
    Until { now: i64, end: i64 },
}

impl Lifetime {
    pub fn from_now(server: &Connection, settings: &Settings) -> Result<Self> {
        let Some(seconds) = settings.ttl_seconds else { return Ok(Self::Forever) };
        let time = server.run_one(Command::new("TIME"))?.into_elements();
        let parts: Vec<i64> =
            time.into_iter().filter_map(|part| str::from_utf8(&part.into_bytes()?).ok()?.parse().ok()).collect();
        let [now_seconds, microseconds] = parts[..] else {
            return Err(StorageError::other("the server's answer to TIME is not valid"));
        };
        let now = now_seconds * 1_000 + microseconds / 1_000;
        Ok(Self::Until { now, end: now + i64::from(seconds.get()) * 1_000 })
    }

    /// Lists the trace with its expiry time.
    pub fn note(self, id: Uuid) -> Command {
        Command::new("ZADD").arg(key::TRACES).arg(self.end()).arg(id.to_bytes())
    }

    /// Extends the expiry time of a listed trace. Never shortens it.
    pub fn note_later(self, id: Uuid) -> Command {
        Command::new("ZADD").arg(key::TRACES).arg("XX").arg("GT").arg(self.end()).arg(id.to_bytes())
    }

    fn end(self) -> String {
        match self {
            Self::Forever => "+inf".into(),
            Self::Until { end, .. } => end.to_string(),
        }
    }

    /// Sets the lifetime of the keys that exist.
    pub fn extend(self, keys: impl IntoIterator<Item = String>) -> impl Iterator<Item = Command> {
        keys.into_iter().map(move |key| match self {
            Self::Forever => Command::new("PERSIST").arg(key),
            Self::Until { end, .. } => Command::new("PEXPIREAT").arg(key).number(end),
        })
    }

    /// Stores a string with this lifetime.
    pub fn set(self, key: String, value: Vec<u8>) -> Command {
        let set = Command::new("SET").arg(key).arg(value);
        match self {
            Self::Forever => set,
            Self::Until { end, .. } => set.arg("PXAT").number(end),
        }
    }
}

/// The keys of a trace's events.
pub fn of_events(id: Uuid) -> [String; 2] {
    [key::events(id), key::bodies(id)]
}
