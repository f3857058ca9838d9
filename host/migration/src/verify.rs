//! Compares two streams of traces in lockstep: both have the same order, so neither is kept in memory.

use std::cmp::Ordering;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{TraceId, time};
use reflow_tracing_storage::streaming::event_batches;
use reflow_tracing_storage::{StorageBackend, StorageError};

use crate::MigrationError;
use crate::batch::batches;
use crate::copy::{self, CopyOptions};
use crate::counts::Counts;
use crate::digest::{Digest, Digester};
use crate::report::{Progress, Verification};
use crate::store_stream::{StorePart, StoreStream, StreamPosition};

/// The maximum number of ids of differing traces in a report.
const KEPT: usize = 100;
/// Traces per progress report.
const EVERY: u64 = 1_000;

type Digests<'a> = BoxStream<'a, Result<(StreamPosition, Digest), StorageError>>;

/// The digest of each trace, in the order of the stream.
fn digests(parts: StoreStream<'_>) -> Digests<'_> {
    struct State<'a> {
        parts: StoreStream<'a>,
        current: Option<(StreamPosition, Digester)>,
    }
    let state = State { parts, current: None };
    stream::try_unfold(state, |mut state| async move {
        loop {
            let part = state.parts.try_next().await?;
            let (position, digester) = match part {
                Some(StorePart::Header(header)) => {
                    let mut digester = Digester::default();
                    digester.header(&header);
                    (StreamPosition::of(&header), digester)
                }
                Some(StorePart::Headerless(trace_id)) => {
                    let mut digester = Digester::default();
                    digester.headerless(trace_id);
                    (StreamPosition::Headerless { trace_id }, digester)
                }
                Some(StorePart::Events(events)) => {
                    if let Some((position, digester)) = &mut state.current {
                        digester.events(position.trace_id(), &events);
                    }
                    continue;
                }
                Some(StorePart::Unreadable(_)) => continue,
                None => {
                    let last = state.current.take().map(|(position, digester)| (position, digester.digest));
                    return Ok::<_, StorageError>(last.map(|last| (last, state)));
                }
            };
            if let Some((earlier, digester)) = state.current.replace((position, digester)) {
                return Ok(Some(((earlier, digester.digest), state)));
            }
        }
    })
    .boxed()
}

/// Copies a trace as it is now. Returns its digest in the source and in the target; `None` if the source no longer has it.
async fn copy_again<S, T>(
    source: &S,
    target: &T,
    trace_id: TraceId,
    options: &CopyOptions,
) -> Result<Option<(Digest, Digest)>, MigrationError>
where
    S: StorageBackend + ?Sized,
    T: StorageBackend + ?Sized,
{
    let parts = one_trace(source, trace_id);
    let once = CopyOptions { journal: None, on_progress: None, ..options.clone() };
    let batches = batches(parts, options.batch_events.get(), None, Counts::default());
    let copied = copy::store(batches, target, &once, Counts::default()).await?.digest;
    if copied.events == 0 && copied.traces == 0 {
        return Ok(None);
    }
    Ok(Some((copied, digest_of(target, trace_id).await?)))
}

/// The digest of a trace in a store.
async fn digest_of<B: StorageBackend + ?Sized>(store: &B, trace_id: TraceId) -> Result<Digest, MigrationError> {
    let trace = digests(one_trace(store, trace_id)).try_next().await.map_err(MigrationError::Verification)?;
    let digest = trace.map_or_else(Digest::default, |(_, digest)| digest);
    // A missing trace has no header.
    Ok(if digest.events == 0 && digest.traces == 0 { Digest::default() } else { digest })
}

/// The parts of one trace, with or without a header.
fn one_trace<B: StorageBackend + ?Sized>(store: &B, trace_id: TraceId) -> StoreStream<'_> {
    let first = stream::once(async move {
        let header = store.get_headers(vec![trace_id]).await?.pop().flatten();
        Ok(header.map_or(StorePart::Headerless(trace_id), StorePart::Header))
    });
    first.chain(event_batches(store.stream_events(trace_id)).map_ok(StorePart::Events)).boxed()
}

/// Compares the target with the source. Traces that differ are copied again from `source`.
pub(crate) async fn compare<S, T>(
    source_parts: StoreStream<'_>,
    target_parts: StoreStream<'_>,
    source: Option<&S>,
    target: &T,
    options: &CopyOptions,
) -> Result<Verification, MigrationError>
where
    S: StorageBackend + ?Sized,
    T: StorageBackend + ?Sized,
{
    let horizon = options.horizon(target).map(time::nanos);
    let (mut ours, mut theirs) = (digests(source_parts), digests(target_parts));
    let mut verification = Verification::default();
    let (mut our, mut their) = (next_of(&mut ours, true).await?, next_of(&mut theirs, false).await?);
    let mut compared: u64 = 0;
    loop {
        let order = match (&our, &their) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((our, _)), Some((their, _))) => our.cmp(their),
        };
        if order == Ordering::Greater {
            verification.in_target_alone += 1;
            their = next_of(&mut theirs, false).await?;
            continue;
        }
        let Some((position, mut expected)) = our.take() else { break };
        let mut found = match (order, their.take()) {
            (Ordering::Equal, Some((_, digest))) => digest,
            (_, other) => {
                their = other;
                // It may have another start there, or be one of those that the target can't list.
                digest_of(target, position.trace_id()).await?
            }
        };
        let has_expired = match (position, horizon) {
            (StreamPosition::Trace { start_time, .. }, Some(horizon)) => start_time < horizon,
            _ => false,
        };
        let mut differs = found != expected;
        if differs
            && !(has_expired && found == Digest::default())
            && let Some(source) = source
        {
            match copy_again(source, target, position.trace_id(), options).await? {
                Some((now, stored)) => {
                    (expected, found) = (now, stored);
                    differs = found != expected;
                    verification.copied_again += 1;
                }
                None => (expected, found, differs) = (Digest::default(), Digest::default(), false),
            }
        }
        verification.source += expected;
        verification.target += found;
        if differs {
            verification.differing += 1;
            if verification.first_differing.len() < KEPT {
                verification.first_differing.push(position.trace_id());
            }
        }
        compared += 1;
        if compared.is_multiple_of(EVERY) {
            options.notify(Progress::Compared(verification.source));
        }
        our = next_of(&mut ours, true).await?;
        if order == Ordering::Equal {
            their = next_of(&mut theirs, false).await?;
        }
    }
    options.notify(Progress::Compared(verification.source));
    Ok(verification)
}

async fn next_of(
    digests: &mut Digests<'_>,
    of_source: bool,
) -> Result<Option<(StreamPosition, Digest)>, MigrationError> {
    let of = if of_source { MigrationError::Source } else { MigrationError::Verification };
    digests.try_next().await.map_err(of)
}
