//! Which of the trace ids that a connection names are those of stored traces.
//!
//! Reflow's client makes up an id for every event. To look each of them up would cost as much as storing the events does,
//! so a connection's habit is learnt from the first ids that it names: once [`TRIED`] of them in a row were unknown to the
//! store, it makes ids up, and its ids are not looked up any more, except those that can't be made up: of traces that
//! were started at this host, and those that come twice in a row.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use reflow_tracing::TraceId;
use reflow_tracing::storage::{FlowTrace, StorageBackend, StorageError};
use tokio::time::Instant;

use super::open_trace::OpenTrace;
use super::open_traces::OpenTraces;

/// The unknown ids after which a connection is taken to make them up.
const TRIED: usize = 32;

/// The ids of a connection whose lookup is remembered.
const REMEMBERED: usize = 1_024;

/// How long: a trace may be started, ended or deleted elsewhere.
const FRESH: Duration = Duration::from_secs(10);

/// The ids of traces started here that are remembered.
const STARTED: usize = 100_000;

/// The ids of traces that were started at this host lately, whoever did. Clones are the same.
#[derive(Clone)]
pub(super) struct StartedHere(Arc<Mutex<LruCache<TraceId, ()>>>);

impl Default for StartedHere {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(STARTED))))
    }
}

impl StartedHere {
    pub(super) fn add(&self, trace_id: TraceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(trace_id, ());
    }
}

/// What is known of the ids that a connection names and did not start.
pub(super) struct TraceIds {
    /// As of when; `None` when the store knew nothing.
    asked: LruCache<TraceId, (Instant, Option<Arc<OpenTrace>>)>,
    /// Ids in a row that the store did not know.
    unknown: usize,
    last: Option<TraceId>,
}

impl Default for TraceIds {
    fn default() -> Self {
        // It grows as it is needed.
        Self { asked: LruCache::new(REMEMBERED), unknown: 0, last: None }
    }
}

impl TraceIds {
    /// Asks the store about those of `ids` that may be of stored traces.
    pub(super) async fn learn(
        &mut self,
        ids: impl Iterator<Item = TraceId>,
        storage: &dyn StorageBackend,
        started: &StartedHere,
        open: &OpenTraces,
    ) -> Result<(), StorageError> {
        let (mut seen, mut certain, mut possible) = (HashSet::new(), Vec::new(), Vec::new());
        let now = Instant::now();
        {
            let started = started.0.lock().unwrap_or_else(PoisonError::into_inner);
            for trace_id in ids {
                let comes_again = self.last.replace(trace_id) == Some(trace_id);
                let asked = self.asked.peek(&trace_id).map(|(at, _)| now.duration_since(*at));
                if asked.is_some_and(|age| age < FRESH) {
                    continue;
                }
                if comes_again || asked.is_some() || started.peek(&trace_id).is_some() {
                    certain.push(trace_id);
                } else if self.unknown < TRIED && seen.insert(trace_id) {
                    possible.push(trace_id);
                }
            }
        }
        certain.sort_unstable();
        certain.dedup();
        possible.retain(|trace_id| certain.binary_search(trace_id).is_err());
        self.ask(certain, storage, open).await?;
        while self.unknown < TRIED && !possible.is_empty() {
            let rest = possible.split_off(possible.len().min(TRIED));
            self.ask(std::mem::replace(&mut possible, rest), storage, open).await?;
        }
        Ok(())
    }

    /// The trace with the id, if the store was found to have it.
    pub(super) fn stored(&mut self, trace_id: TraceId) -> Option<Arc<OpenTrace>> {
        if self.asked.is_empty() {
            return None;
        }
        self.asked.get(&trace_id)?.1.clone()
    }

    async fn ask(
        &mut self,
        trace_ids: Vec<TraceId>,
        storage: &dyn StorageBackend,
        open: &OpenTraces,
    ) -> Result<(), StorageError> {
        if trace_ids.is_empty() {
            return Ok(());
        }
        let headers = headers(storage, &trace_ids).await?;
        let now = Instant::now();
        for (trace_id, header) in trace_ids.into_iter().zip(headers) {
            let found = match header {
                Answer::Found(header) => {
                    Some(open.get(trace_id).unwrap_or_else(|| Arc::new(OpenTrace::stored(header))))
                }
                Answer::Unknown => None,
                // It is asked again.
                Answer::Pending => {
                    self.unknown += 1;
                    continue;
                }
            };
            self.unknown = if found.is_some() { 0 } else { self.unknown + 1 };
            self.asked.insert(trace_id, (now, found));
        }
        Ok(())
    }
}

#[allow(clippy::large_enum_variant)] // Few are in memory, for a moment.
enum Answer {
    Found(FlowTrace),
    Unknown,
    /// The store spools and can't be asked. To wait for the answer would be to wait for the store, so the id is taken for one
    /// that the client made up.
    Pending,
}

async fn headers(storage: &dyn StorageBackend, trace_ids: &[TraceId]) -> Result<Vec<Answer>, StorageError> {
    let answer = |header: Option<FlowTrace>| header.map_or(Answer::Unknown, Answer::Found);
    match super::guard(storage.get_headers(trace_ids.to_vec())).await {
        // Of some of them: each by itself has its answer at once.
        Err(StorageError::Pending(_)) => {}
        headers => return Ok(headers?.into_iter().map(answer).collect()),
    }
    let mut answers = Vec::with_capacity(trace_ids.len());
    for trace_id in trace_ids {
        answers.push(match super::guard(storage.get_headers(vec![*trace_id])).await {
            Err(StorageError::Pending(_)) => Answer::Pending,
            headers => answer(headers?.into_iter().next().flatten()),
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::ingest::gated::Gated;
    use reflow_tracing::storage::MemoryStorage;
    use reflow_tracing::storage::layers::lazy::Lazy;
    use reflow_tracing::storage::layers::spool::{Spool, SpoolConfig};

    async fn is_stored(ids: &mut TraceIds, trace_id: TraceId, storage: &Gated, started: &StartedHere) -> bool {
        ids.learn([trace_id].into_iter(), storage, started, &OpenTraces::default()).await.unwrap();
        ids.stored(trace_id).is_some()
    }

    async fn stored_trace(storage: &Gated) -> TraceId {
        let trace = FlowTrace::default();
        storage.store_trace(trace.clone()).await.unwrap();
        trace.trace_id
    }

    #[tokio::test]
    async fn a_connection_that_makes_ids_up_stops_asking() {
        let storage = Gated::new(Semaphore::MAX_PERMITS);
        let (mut ids, started) = (TraceIds::default(), StartedHere::default());
        for _ in 0..1_000 {
            assert!(!is_stored(&mut ids, TraceId::new(), &storage, &started).await);
        }
        assert_eq!(storage.lookups.load(Ordering::Relaxed), TRIED);
        let (mut ids, asked) = (TraceIds::default(), storage.lookups.load(Ordering::Relaxed));
        ids.learn((0..1_000).map(|_| TraceId::new()), &*storage, &started, &OpenTraces::default()).await.unwrap();
        assert_eq!(storage.lookups.load(Ordering::Relaxed), asked + 1, "what comes together is asked together");
    }

    #[tokio::test]
    async fn a_connection_that_names_stored_traces_is_asked_about_once_each() {
        let storage = Gated::new(Semaphore::MAX_PERMITS);
        let (mut ids, started) = (TraceIds::default(), StartedHere::default());
        for _ in 0..2 * TRIED {
            let trace_id = stored_trace(&storage).await;
            for _ in 0..10 {
                assert!(is_stored(&mut ids, trace_id, &storage, &started).await);
            }
        }
        assert_eq!(storage.lookups.load(Ordering::Relaxed), 2 * TRIED);
    }

    #[tokio::test]
    async fn ids_that_cannot_be_made_up_are_looked_up_whatever_a_connection_does_otherwise() {
        let storage = Gated::new(Semaphore::MAX_PERMITS);
        let (mut ids, started) = (TraceIds::default(), StartedHere::default());
        ids.learn((0..1_000).map(|_| TraceId::new()), &*storage, &started, &OpenTraces::default()).await.unwrap();
        let here = stored_trace(&storage).await;
        started.add(here);
        assert!(is_stored(&mut ids, here, &storage, &started).await);
        ids.learn((0..1_000).map(|_| TraceId::new()), &*storage, &started, &OpenTraces::default()).await.unwrap();
        let elsewhere = stored_trace(&storage).await;
        is_stored(&mut ids, elsewhere, &storage, &started).await;
        assert!(is_stored(&mut ids, elsewhere, &storage, &started).await, "it comes again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_store_said_is_asked_again_after_a_while() {
        let storage = Gated::new(Semaphore::MAX_PERMITS);
        let (mut ids, started) = (TraceIds::default(), StartedHere::default());
        let trace = FlowTrace::default();
        assert!(!is_stored(&mut ids, trace.trace_id, &storage, &started).await);
        storage.store_trace(trace.clone()).await.unwrap();
        tokio::time::advance(FRESH).await;
        assert!(is_stored(&mut ids, trace.trace_id, &storage, &started).await);
    }

    #[tokio::test]
    async fn while_the_store_spools_what_waits_is_found_and_what_nobody_knows_is_not_there() {
        let away = Lazy::<MemoryStorage>::new(|| {
            Box::pin(async { Err(StorageError::Unavailable("asked to be away".into())) })
        });
        let folder = tempfile::tempdir().unwrap();
        let storage = Spool::open(away, "remote", &SpoolConfig::new(folder.path())).await.unwrap();
        let header = FlowTrace::default();
        storage.store_trace(header.clone()).await.unwrap();
        let mut ids = TraceIds::default();
        let asked = [TraceId::new(), header.trace_id, TraceId::new()];
        ids.learn(asked.into_iter(), &storage, &StartedHere::default(), &OpenTraces::default()).await.unwrap();
        assert_eq!(asked.map(|trace_id| ids.stored(trace_id).is_some()), [false, true, false]);
    }
}
