use reflow_tracing::storage::*;

use super::works;

#[tokio::test]
async fn memory_storage_needs_no_configuration() {
    use reflow_tracing::storage::MemoryStorage;

    let storage = MemoryStorage::new();

    works(&storage).await;
}

#[tokio::test]
async fn memory_storage_takes_its_bounds() {
    use reflow_tracing::storage::{MemoryConfig, MemoryStorage};

    let config = MemoryConfig {
        max_traces: 10_000,
        max_events_per_trace: 1_000,
        max_memory_mb: 256,
        eviction_policy: EvictionPolicy::LRU,
    };

    let storage = MemoryStorage::with_config(config);

    works(&storage).await;
}
