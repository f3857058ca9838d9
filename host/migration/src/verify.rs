//! Compares two streams of traces, in step: both come in the same order, so that neither has to be kept.

use std::cmp::Ordering;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::MigrationError;
use super::batch::batches;
use super::content::{Content, Measure};
use super::copy::{self, CopyOptions};
use super::part::{Part, Parts, Place};
use super::report::{Progress, Verification};
use super::tally::Seen;
use reflow_tracing_model::TraceId;
use reflow_tracing_storage::streaming::pieces;
use reflow_tracing_storage::{StorageBackend, StorageError};

/// Differing traces whose ids are kept.
const KEPT: usize = 100;
/// Traces between two words on progress.
const EVERY: u64 = 1_000;

type Fingerprints<'a> = BoxStream<'a, Result<(Place, Content), StorageError>>;

/// The content of each trace.
fn fingerprints(parts: Parts<'_>) -> Fingerprints<'_> {
    struct State<'a> {
        parts: Parts<'a>,
        current: Option<(Place, Measure)>,
    }
    let state = State { parts, current: None };
    stream::try_unfold(state, |mut state| async move {
        loop {
            let part = state.parts.try_next().await?;
            let (place, measure) = match part {
                Some(Part::Header(header)) => {
                    let mut measure = Measure::default();
                    measure.header(&header);
                    (Place::of(&header), measure)
                }
                Some(Part::Headerless(trace_id)) => {
                    let mut measure = Measure::default();
                    measure.headerless(trace_id);
                    (Place::Headerless { trace_id }, measure)
                }
                Some(Part::Events(events)) => {
                    if let Some((place, measure)) = &mut state.current {
                        measure.events(place.trace_id(), &events);
                    }
                    continue;
                }
                Some(Part::Unreadable(_)) => continue,
                None => {
                    let last = state.current.take().map(|(place, measure)| (place, measure.content));
                    return Ok::<_, StorageError>(last.map(|last| (last, state)));
                }
            };
            if let Some((earlier, measure)) = state.current.replace((place, measure)) {
                return Ok(Some(((earlier, measure.content), state)));
            }
        }
    })
    .boxed()
}

/// Copies a trace as it is now. Its content in the source and in the target; `None` when it is in the source no more.
async fn copy_again<S, T>(
    source: &S,
    target: &T,
    trace_id: TraceId,
    options: &CopyOptions,
) -> Result<Option<(Content, Content)>, MigrationError>
where
    S: StorageBackend + ?Sized,
    T: StorageBackend + ?Sized,
{
    let parts = one_trace(source, trace_id);
    let once = CopyOptions { journal: None, on_progress: None, ..options.clone() };
    let batches = batches(parts, options.batch_events.get(), None, Seen::default());
    let copied = copy::store(batches, target, &once, Seen::default()).await?.content;
    if copied.events == 0 && copied.traces == 0 {
        return Ok(None);
    }
    Ok(Some((copied, content_of(target, trace_id).await?)))
}

/// What there is of a trace.
async fn content_of<B: StorageBackend + ?Sized>(store: &B, trace_id: TraceId) -> Result<Content, MigrationError> {
    let trace = fingerprints(one_trace(store, trace_id)).try_next().await.map_err(MigrationError::Verification)?;
    let content = trace.map_or_else(Content::default, |(_, content)| content);
    // Everything that is not there has no header.
    Ok(if content.events == 0 && content.traces == 0 { Content::default() } else { content })
}

/// The parts of one trace, with its header or without.
fn one_trace<B: StorageBackend + ?Sized>(store: &B, trace_id: TraceId) -> Parts<'_> {
    let first = stream::once(async move {
        let header = store.get_headers(vec![trace_id]).await?.pop().flatten();
        Ok(header.map_or(Part::Headerless(trace_id), Part::Header))
    });
    first.chain(pieces(store.stream_events(trace_id)).map_ok(Part::Events)).boxed()
}

/// Compares what `target` gives with what the source gives. `source` is where a trace that differs is copied from once more.
pub(super) async fn compare<S, T>(
    source_parts: Parts<'_>,
    target_parts: Parts<'_>,
    source: Option<&S>,
    target: &T,
    options: &CopyOptions,
) -> Result<Verification, MigrationError>
where
    S: StorageBackend + ?Sized,
    T: StorageBackend + ?Sized,
{
    let horizon = options.horizon(target).map(reflow_tracing_model::time::nanos);
    let (mut ours, mut theirs) = (fingerprints(source_parts), fingerprints(target_parts));
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
        let Some((place, mut expected)) = our.take() else { break };
        let mut found = match (order, their.take()) {
            (Ordering::Equal, Some((_, content))) => content,
            (_, other) => {
                their = other;
                // It may start at another time there, or be of those that the target can't list.
                content_of(target, place.trace_id()).await?
            }
        };
        let has_expired =
            matches!((place, horizon), (Place::Trace { start_time, .. }, Some(horizon)) if start_time < horizon);
        let mut differs = found != expected;
        if differs
            && !(has_expired && found == Content::default())
            && let Some(source) = source
        {
            match copy_again(source, target, place.trace_id(), options).await? {
                Some((now, stored)) => {
                    (expected, found) = (now, stored);
                    differs = found != expected;
                    verification.copied_again += 1;
                }
                None => (expected, found, differs) = (Content::default(), Content::default(), false),
            }
        }
        verification.source += expected;
        verification.target += found;
        if differs {
            verification.differing += 1;
            if verification.first_differing.len() < KEPT {
                verification.first_differing.push(place.trace_id());
            }
        }
        compared += 1;
        if compared.is_multiple_of(EVERY) {
            options.tell(Progress::Compared(verification.source));
        }
        our = next_of(&mut ours, true).await?;
        if order == Ordering::Equal {
            their = next_of(&mut theirs, false).await?;
        }
    }
    options.tell(Progress::Compared(verification.source));
    Ok(verification)
}

async fn next_of(
    fingerprints: &mut Fingerprints<'_>,
    of_source: bool,
) -> Result<Option<(Place, Content)>, MigrationError> {
    let of = if of_source { MigrationError::Source } else { MigrationError::Verification };
    fingerprints.try_next().await.map_err(of)
}
