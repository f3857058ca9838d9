use serde::Deserialize;

/// The bounds of a [`MemoryStorage`](super::MemoryStorage).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// The most traces. One more evicts another.
    pub max_traces: usize,
    /// The most events of a trace. One more is refused.
    pub max_events_per_trace: usize,
    /// The most memory for traces and events, in MiB. More evicts traces.
    pub max_memory_mb: usize,
    /// Which trace goes first.
    pub eviction_policy: EvictionPolicy,
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

/// Which trace is evicted when a store is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum EvictionPolicy {
    /// The least recently used: the one whose last write or [`get_trace`](reflow_tracing_storage::StorageBackend::get_trace) is
    /// the longest ago.
    #[default]
    #[serde(alias = "lru")]
    LRU,
}
