//! Stores the headers of the traces that this host receives.
//!
//! A trace has a header as soon as its first event is acknowledged, so that queries find it, also after a crash. From then on
//! the header follows the events. Other hosts may receive events of the same trace: each notes in the store which traces it holds
//! and keeps a lease there, so that a trace is ended once nobody sends it any more, and not before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use uuid::Uuid;

use super::interrupted::LEASE;
use super::open_trace::OpenTrace;
use super::{INTERRUPTED_TAG, UNKNOWN_FLOW, guard};
use reflow_tracing::storage::{StorageBackend, StorageBackendExt, StorageError};
use reflow_tracing::{ExecutionStatus, FlowTrace, TraceId};

/// Stores headers for this host. Clones are the same.
#[derive(Clone)]
pub(super) struct Headers {
    pub(super) storage: Arc<dyn StorageBackend>,
    pub(super) host: Uuid,
    /// Whether the store was found not to know which host holds which trace.
    without_leases: Arc<AtomicBool>,
    /// The lease begins before the first trace does.
    first_lease: Arc<OnceCell<()>>,
}

impl Headers {
    pub(super) fn new(storage: Arc<dyn StorageBackend>) -> Self {
        Self { storage, host: Uuid::new_v4(), without_leases: Arc::default(), first_lease: Arc::default() }
    }

    /// Whether the store knows which host holds which trace, as far as it is known.
    pub(super) fn has_leases(&self) -> bool {
        !self.without_leases.load(Ordering::Relaxed)
    }

    /// Runs what needs leases; `None` if the store can't be told now, or has none.
    pub(super) async fn with_leases<T>(
        &self,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<Option<T>, StorageError> {
        if !self.has_leases() {
            return Ok(None);
        }
        match guard(call).await {
            Err(StorageError::Unsupported(_)) => {
                self.without_leases.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(StorageError::Pending(_)) => Ok(None),
            // The role of the host may lack a right on tables that a newer version added. Traces are stored all the same.
            Err(StorageError::Configuration(problem)) => {
                if !self.without_leases.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "this host can't note in the store which traces it receives, so no other host ends them if it is killed, \
                         until it is started again: {problem}"
                    );
                }
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    /// Starts or extends the lease of this host. Returns whether it was valid until now; `None` if the store can't be told.
    pub(super) async fn renew_lease(&self, duration: Duration) -> Result<Option<bool>, StorageError> {
        self.with_leases(self.storage.renew_lease(self.host, duration)).await
    }

    /// Gives headers to the traces that have none, and moves their starts, ends and failures to where the events say.
    pub(super) async fn settle(&self, mut traces: Vec<Arc<OpenTrace>>) -> Result<(), StorageError> {
        // In one order everywhere, so that nobody waits in a circle.
        traces.sort_unstable_by_key(|trace| trace.trace_id);
        traces.dedup_by_key(|trace| trace.trace_id);
        let mut locks = Vec::with_capacity(traces.len());
        for trace in &traces {
            locks.push(trace.storing.lock().await);
        }
        let new: Vec<_> = traces.iter().filter(|trace| !trace.is_begun()).map(|trace| &**trace).collect();
        if !new.is_empty() {
            self.begin(&new).await?;
        }
        for trace in &traces {
            self.adjust(trace).await?;
        }
        Ok(())
    }

    /// Stores a header that its sender told, unless the trace was started before.
    pub(super) async fn start(&self, trace: &OpenTrace, header: FlowTrace) -> Result<(), StorageError> {
        let _lock = trace.storing.lock().await;
        header.validate()?;
        if !trace.is_begun() {
            trace.set_header(header.clone(), false);
            let begun = self.begin(&[trace]).await;
            if let Err(StorageError::InvalidArgument(_)) = begun {
                trace.forget_header();
            }
            begun?;
        } else if trace.is_shared
            && let Some(known) = self.known(trace).await?
        {
            self.take_over(trace, known).await?;
        }
        match trace.header() {
            Some(known) if known.flow_id.as_str() == UNKNOWN_FLOW => {
                let mut header = FlowTrace { execution_id: known.execution_id, ..header };
                header.start_time = header.start_time.min(known.start_time);
                for (name, value) in known.metadata.tags {
                    header.metadata.tags.entry(name).or_insert(value);
                }
                self.store(trace, header).await?;
            }
            _ => {}
        }
        self.adjust(trace).await
    }

    /// Ends a trace as its sender says.
    pub(super) async fn end(&self, trace: &OpenTrace, status: ExecutionStatus) -> Result<(), StorageError> {
        let _lock = trace.storing.lock().await;
        let known = self.known(trace).await?;
        let mut header = trace.end(known.unwrap_or_else(|| trace.provisional()), status);
        header.metadata.tags.remove(INTERRUPTED_TAG);
        self.store(trace, header).await
    }

    /// Compares the headers of shared traces with the store's, where other hosts may have changed them.
    pub(super) async fn refresh(&self, trace: &OpenTrace) -> Result<(), StorageError> {
        let _lock = trace.storing.lock().await;
        if trace.is_begun()
            && let Some(known) = self.known(trace).await?
        {
            self.take_over(trace, known).await?;
            self.adjust(trace).await?;
        }
        Ok(())
    }

    /// Holds traces again after the lease expired, when other hosts may have ended them.
    pub(super) async fn hold_again(&self, trace: &OpenTrace) -> Result<(), StorageError> {
        let _lock = trace.storing.lock().await;
        if !trace.is_begun() || trace.has_ended() {
            return Ok(());
        }
        self.with_leases(self.storage.begin_traces(self.host, vec![trace.provisional()])).await?;
        match self.known(trace).await? {
            Some(known) => self.take_over(trace, known).await,
            None => Ok(()),
        }
    }

    /// Ends a trace that no connection sends any more, unless other hosts receive it. The lock is held.
    pub(super) async fn interrupt(&self, trace: &OpenTrace, reason: &str) -> Result<(), StorageError> {
        let header = trace.interrupted(reason);
        if header.status != ExecutionStatus::Cancelled && !trace.is_stored() {
            // Its sender said so.
            self.store(trace, header.clone()).await?;
        }
        self.leave(self.host, vec![header]).await?;
        // Should a client come back, the trace is held again.
        trace.begun(false);
        Ok(())
    }

    /// Stores headers of traces that `host` receives no more, except of those that have an end or that others send.
    pub(super) async fn leave(&self, host: Uuid, headers: Vec<FlowTrace>) -> Result<(), StorageError> {
        if self.with_leases(self.storage.leave_traces(host, headers.clone())).await?.is_some() {
            return Ok(());
        }
        let ids: Vec<_> = headers.iter().map(|header| header.trace_id).collect();
        let known = match guard(self.storage.get_headers(ids)).await {
            Err(StorageError::Pending(_)) => vec![None; headers.len()],
            known => known?,
        };
        let is_running = |known: &Option<FlowTrace>| known.as_ref().is_none_or(|known| known.end_time.is_none());
        let ended =
            headers.into_iter().zip(known).filter(|(header, known)| header.end_time.is_some() && is_running(known));
        guard(self.storage.store_traces(ended.map(|(header, _)| header).collect())).await
    }

    /// The header of a trace: as the store has it, or as it is known here where the store can't be asked. Fails when neither
    /// can tell.
    async fn known(&self, trace: &OpenTrace) -> Result<Option<FlowTrace>, StorageError> {
        match self.stored(vec![trace.trace_id]).await {
            Ok(mut headers) => Ok(headers.pop().flatten().or_else(|| trace.header())),
            Err(error @ StorageError::Pending(_)) => trace.header().map(Some).ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn stored(&self, trace_ids: Vec<TraceId>) -> Result<Vec<Option<FlowTrace>>, StorageError> {
        guard(self.storage.get_headers(trace_ids)).await
    }

    /// Gives headers to traces that have none. Their locks are held.
    async fn begin(&self, traces: &[&OpenTrace]) -> Result<(), StorageError> {
        // Without it, the next renewal holds the traces again.
        self.first_lease.get_or_init(async || drop(self.renew_lease(LEASE).await)).await;
        let headers: Vec<_> = traces.iter().map(|trace| trace.provisional()).collect();
        let is_held = self.with_leases(self.storage.begin_traces(self.host, headers.clone())).await?.is_some();
        // Nobody else has stored those whose ids were made here.
        let shared: Vec<_> = traces.iter().filter(|trace| trace.is_shared).map(|trace| trace.trace_id).collect();
        let known = match shared.is_empty() {
            true => Vec::new(),
            false => match self.stored(shared.clone()).await {
                Err(StorageError::Pending(_)) => Vec::new(),
                known => known?,
            },
        };
        let known: HashMap<_, _> =
            shared.into_iter().zip(known).filter_map(|(id, header)| Some((id, header?))).collect();
        if !is_held {
            let missing = headers.iter().filter(|header| !known.contains_key(&header.trace_id));
            guard(self.storage.store_traces(missing.cloned().collect())).await?;
        }
        for (trace, header) in traces.iter().zip(headers) {
            trace.begun(true);
            match known.get(&trace.trace_id) {
                Some(known) => self.take_over(trace, known.clone()).await?,
                None => trace.set_header(header, true),
            }
        }
        Ok(())
    }

    /// Takes over the header that the store has. A trace that was interrupted goes on, as somebody sends it.
    async fn take_over(&self, trace: &OpenTrace, mut header: FlowTrace) -> Result<(), StorageError> {
        if header.metadata.tags.remove(INTERRUPTED_TAG).is_none() {
            trace.set_header(header, true);
            return Ok(());
        }
        self.store(trace, FlowTrace { status: ExecutionStatus::Running, end_time: None, ..header }).await
    }

    async fn adjust(&self, trace: &OpenTrace) -> Result<(), StorageError> {
        if trace.adjusted().is_none() {
            return Ok(());
        }
        if trace.is_shared
            && trace.is_stored()
            && let Some(known) = self.known(trace).await?
        {
            trace.set_header(known, true);
        }
        match trace.adjusted() {
            Some(header) => self.store(trace, header).await,
            None => Ok(()),
        }
    }

    async fn store(&self, trace: &OpenTrace, header: FlowTrace) -> Result<(), StorageError> {
        let result = guard(self.storage.store_trace(header.clone())).await;
        match &result {
            Ok(()) => trace.set_header(header, true),
            Err(error) if error.is_retryable() => trace.set_header(header, false),
            Err(_) => {}
        }
        result
    }
}
