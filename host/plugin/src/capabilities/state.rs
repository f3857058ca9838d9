//! What an instance's imports work with, and the interfaces that need no more than a grant.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTable};

use super::granted::Granted;
use super::http::host::Http;
use super::sql::{Cursor, Transaction};
use crate::contract::batch::EventBatch;
use crate::contract::bindings::reflow::capabilities::{config, log, metrics, secrets};
use crate::contract::budget::{Budget, OverBudget};
use crate::policy::Limits;
use crate::runtime::cpu::{CpuTime, Pace};

/// The handles, grants and limits of an instance.
pub(crate) struct HostState {
    pub(crate) plugin: Arc<str>,
    /// The resources behind the instance's handles.
    pub(crate) table: ResourceTable,
    pub(crate) granted: Arc<Granted>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) http: Http,
    cpu: Arc<CpuTime>,
    /// Bytes of the events in its batches, and of the rows in its cursors.
    held: usize,
}

impl HostState {
    pub(crate) fn new(plugin: Arc<str>, limits: Arc<Limits>, granted: Arc<Granted>, cpu: &Arc<CpuTime>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let http = Http::new(Arc::clone(&granted), Arc::clone(&limits));
        Self { plugin, table, granted, limits, http, cpu: Arc::clone(cpu), held: 0 }
    }

    /// What the host may still hold for the instance. Taking from it does not count beyond the call of a host function:
    /// what stays is [reserved](Self::reserve).
    pub(super) fn budget(&self) -> Budget {
        Budget::new(&self.plugin, self.limits.result_mb, self.held)
    }

    /// For long work of a host function.
    pub(super) fn pace(&self) -> Pace {
        self.cpu.pace()
    }

    /// Counts bytes that the host holds until they are [released](Self::release). Fails when it would hold too many.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.budget().take(bytes)?;
        self.held += bytes;
        Ok(())
    }

    pub(super) fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Adds a batch from a capability to the instance's handles. Fails when the host would hold too much.
    pub(crate) fn add_batch(&mut self, batch: EventBatch) -> wasmtime::Result<Result<Resource<EventBatch>, String>> {
        match self.reserve(batch.bytes()) {
            Ok(()) => Ok(Ok(self.table.push(batch)?)),
            Err(problem) => Ok(Err(problem.to_string())),
        }
    }

    /// A batch of the current call.
    pub(super) fn batch(&self, batch: &Resource<EventBatch>) -> wasmtime::Result<&EventBatch> {
        Ok(self.table.get(batch)?.check()?)
    }

    /// Removes a batch of the current call from the instance's handles.
    pub(crate) fn take_batch(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<EventBatch> {
        self.batch(&batch)?;
        self.remove_batch(batch)
    }

    /// Removes a batch from the instance's handles.
    pub(super) fn remove_batch(&mut self, batch: Resource<EventBatch>) -> wasmtime::Result<EventBatch> {
        let batch = self.table.delete(batch)?;
        self.release(batch.bytes());
        Ok(batch)
    }

    /// Ends what lasts no longer than a call: batches, cursors and transactions. Their handles stay, because a language with a
    /// garbage collector may drop them late.
    pub(crate) fn end_call(&mut self) {
        self.held = 0;
        for resource in self.table.iter_mut() {
            if let Some(batch) = resource.downcast_mut::<EventBatch>() {
                batch.end();
            } else if let Some(cursor) = resource.downcast_mut::<Cursor>() {
                cursor.end();
            } else if let Some(transaction) = resource.downcast_mut::<Transaction>() {
                transaction.end();
            }
        }
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
