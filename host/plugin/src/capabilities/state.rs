//! What an instance's imports work with, and the interfaces that need no more than a grant.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTable};

use super::granted::Granted;
use super::http::host::Http;
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::{config, log, metrics, secrets};
use crate::policy::Limits;

/// The handles, grants and limits of an instance.
pub(crate) struct HostState {
    pub(crate) plugin: Arc<str>,
    /// The resources behind the instance's handles.
    pub(crate) table: ResourceTable,
    pub(crate) granted: Arc<Granted>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) http: Http,
    /// Bytes of the events in its batches.
    batch_bytes: usize,
}

impl HostState {
    pub(crate) fn new(plugin: Arc<str>, limits: Arc<Limits>, granted: Arc<Granted>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let http = Http::new(Arc::clone(&granted), Arc::clone(&limits));
        Self { plugin, table, granted, limits, http, batch_bytes: 0 }
    }

    /// Adds a batch from a capability to the instance's handles. Fails when its batches exceed the limit.
    pub(crate) fn add_batch(&mut self, batch: EventBatch) -> wasmtime::Result<Result<Resource<EventBatch>, String>> {
        match self.reserve(&batch) {
            Ok(()) => Ok(Ok(self.table.push(batch)?)),
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Removes a batch from the instance's handles.
    pub(crate) fn remove_batch(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<EventBatch> {
        let batch = self.table.delete(batch)?;
        self.batch_bytes -= batch.bytes();
        Ok(batch)
    }

    /// Counts the bytes of a batch. Fails when the batches of the instance exceed the limit.
    pub(super) fn reserve(&mut self, added: &EventBatch) -> Result<(), String> {
        let bytes = self.batch_bytes + added.bytes();
        if bytes > self.limits.result_bytes() {
            return Err(format!(
                "the batches hold {bytes} bytes of events: request smaller pages, or raise plugins.{}.limits.result_mb, which is {}",
                self.plugin, self.limits.result_mb
            ));
        }
        self.batch_bytes = bytes;
        Ok(())
    }
}

impl config::Host for HostState {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.granted.settings.get(&name).cloned())
    }

    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.granted.settings.keys().cloned().collect())
    }
}

impl log::Host for HostState {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.granted.log.write(level, &message);
        Ok(())
    }
}

impl metrics::Host for HostState {
    fn count(&mut self, name: String, by: u64) -> wasmtime::Result<()> {
        self.granted.metrics.count(&name, by);
        Ok(())
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.granted.metrics.gauge(&name, value);
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.granted.metrics.observe(&name, value);
        Ok(())
    }
}

impl secrets::Host for HostState {
    async fn get(&mut self, label: String) -> wasmtime::Result<Result<Vec<u8>, secrets::SecretError>> {
        Ok(self.granted.secrets.get(&label).await)
    }
}
