use reflow_tracing_storage::range::{self, Number};
use serde::Deserialize;

/// The bounds of a [`MemoryStorage`](super::MemoryStorage).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// The maximum number of traces. One more evicts another.
    pub max_traces: usize,
    /// The maximum number of events per trace. One more is rejected.
    pub max_events_per_trace: usize,
    /// The maximum memory for traces and events in MiB. More evicts traces.
    pub max_memory_mb: usize,
    /// Which trace is evicted first.
    pub eviction_policy: EvictionPolicy,
}

impl MemoryConfig {
    /// The numbers among the settings, with their ranges. Every number works; a larger one than these was not meant.
    pub fn numbers(&self) -> Vec<Number> {
        const MOST: u64 = 1_000_000_000_000;
        vec![
            Number::new("max_traces", self.max_traces, 0..=MOST),
            Number::new("max_events_per_trace", self.max_events_per_trace, 0..=MOST),
            Number::new("max_memory_mb", self.max_memory_mb, 0..=range::TEBIBYTE_MB),
        ]
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            max_traces: 10_000,
            max_events_per_trace: 100_000,
            max_memory_mb: 256,
            eviction_policy: EvictionPolicy::default(),
        }
    }
}

/// Which trace a full store evicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum EvictionPolicy {
    /// The least recently used: the trace with the oldest last write or read by id
    /// ([`get_trace`](reflow_tracing_storage::StorageBackend::get_trace),
    /// [`get_headers`](reflow_tracing_storage::StorageBackend::get_headers)).
    #[default]
    #[serde(alias = "lru")]
    LRU,
}
