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
