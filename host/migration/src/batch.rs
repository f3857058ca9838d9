//! A stream of parts cut into what is written at once.

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::MigrationError;
use super::part::{Part, Parts, Place};
use super::tally::{Seen, Tally};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};

/// What the events of a batch take up, about: a batch of large events holds fewer.
const BATCH_BYTES: usize = 8 << 20;
/// Traces with few events or none: so many of them make a batch.
const BATCH_TRACES: usize = 2_000;

/// What is written at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Traces that lie in this batch with all of their events.
    pub whole: Vec<FlowTrace>,
    /// Events of traces that don't, and of those without a header.
    pub events: Vec<(TraceId, TraceEvent)>,
    /// The headers of traces whose events are all in this batch or in earlier ones. They are stored after those, so that
    /// whoever sees such a trace sees all of it.
    pub ends: Vec<FlowTrace>,
    /// How far the source was read with this batch, whole traces alone, and what came until there.
    pub done: Option<(Place, Seen)>,
    /// What came until here.
    pub seen: Seen,
    /// What could not be read.
    pub unreadable: Vec<String>,
}

/// Cuts `parts` into batches of about `batch_events`. Traces that started before `horizon` are counted as expired.
pub(super) fn batches<'a>(
    parts: Parts<'a>,
    batch_events: usize,
    horizon: Option<DateTime<Utc>>,
    before: Seen,
) -> BoxStream<'a, Result<Batch, MigrationError>> {
    let cutter = Cutter {
        batch_events: batch_events.max(1),
        tally: Tally::new(before, horizon),
        current: None,
        batch: Batch::default(),
        events: 0,
        bytes: 0,
    };
    stream::try_unfold(Some((parts, cutter)), |state| async move {
        let Some((mut parts, mut cutter)) = state else { return Ok::<_, MigrationError>(None) };
        loop {
            match parts.try_next().await.map_err(MigrationError::Source)? {
                Some(part) => cutter.add(part),
                None => return Ok(Some((cutter.end(), None))),
            }
            if cutter.is_full() {
                let batch = cutter.cut();
                return Ok(Some((batch, Some((parts, cutter)))));
            }
        }
    })
    .boxed()
}

/// The trace that is being read.
struct Current {
    /// `None` for a trace without a header.
    header: Option<FlowTrace>,
    trace_id: TraceId,
    place: Place,
    events: Vec<TraceEvent>,
    /// Whether some of its events went into an earlier batch.
    is_split: bool,
}

struct Cutter {
    batch_events: usize,
    tally: Tally,
    current: Option<Current>,
    batch: Batch,
    events: usize,
    bytes: usize,
}

impl Cutter {
    fn add(&mut self, part: Part) {
        if let Part::Header(_) | Part::Headerless(_) = part {
            self.end_trace();
        }
        self.tally.add(&part);
        match part {
            Part::Header(header) => {
                let (trace_id, place) = (header.trace_id, Place::of(&header));
                let header = Some(header);
                self.current = Some(Current { header, trace_id, place, events: Vec::new(), is_split: false });
            }
            Part::Headerless(trace_id) => {
                let place = Place::Headerless { trace_id };
                self.current = Some(Current { header: None, trace_id, place, events: Vec::new(), is_split: false });
            }
            Part::Events(events) => {
                let Some(current) = &mut self.current else { return };
                self.events += events.len();
                self.bytes += events.iter().map(TraceEvent::approximate_bytes).sum::<usize>();
                if current.events.is_empty() {
                    current.events = events;
                } else {
                    current.events.extend(events);
                }
            }
            Part::Unreadable(what) => self.batch.unreadable.push(what),
        }
    }

    fn is_full(&self) -> bool {
        self.events >= self.batch_events || self.bytes >= BATCH_BYTES || self.batch.whole.len() >= BATCH_TRACES
    }

    /// Nothing more comes of the current trace.
    fn end_trace(&mut self) {
        let Some(Current { header, trace_id, place, events, is_split }) = self.current.take() else { return };
        match header {
            Some(header) if !is_split => self.batch.whole.push(FlowTrace { events, ..header }),
            header => {
                self.batch.events.extend(events.into_iter().map(|event| (trace_id, event)));
                self.batch.ends.extend(header);
            }
        }
        self.batch.done = Some((place, self.tally.seen()));
    }

    /// What there is of the batch, while more comes of the current trace.
    fn cut(&mut self) -> Batch {
        if let Some(current) = &mut self.current
            && !current.events.is_empty()
        {
            current.is_split = true;
            let trace_id = current.trace_id;
            let events = std::mem::take(&mut current.events);
            self.batch.events.extend(events.into_iter().map(|event| (trace_id, event)));
        }
        (self.events, self.bytes) = (0, 0);
        Batch { seen: self.tally.seen(), ..std::mem::take(&mut self.batch) }
    }

    fn end(mut self) -> Batch {
        self.end_trace();
        self.cut()
    }
}
