//! Splits a stream of trace parts into batches.

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reflow_tracing_model::{FlowTrace, TraceEvent, TraceId};

use crate::MigrationError;
use crate::counts::{Counter, Counts};
use crate::journal::Checkpoint;
use crate::store_stream::{StorePart, StoreStream, StreamPosition};

/// The approximate maximum size of a batch in bytes.
const BATCH_BYTES: usize = 8 << 20;
/// The maximum number of whole traces in a batch, for traces with few or no events.
const BATCH_TRACES: usize = 2_000;

/// A batch of writes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Traces that are in this batch with all of their events.
    pub whole: Vec<FlowTrace>,
    /// Events of other traces, including those without a header.
    pub events: Vec<(TraceId, TraceEvent)>,
    /// Headers of traces whose events end in this batch. They are stored after the events, so that a reader who sees such a
    /// trace sees all of it.
    pub ends: Vec<FlowTrace>,
    /// The position in the source, in whole traces, after this batch.
    pub checkpoint: Option<Checkpoint>,
    /// The counts up to the end of this batch.
    pub counts: Counts,
    /// Unreadable data.
    pub unreadable: Vec<String>,
}

/// Splits `parts` into batches of about `batch_events`. Traces that started before `horizon` count as expired.
pub(crate) fn batches<'a>(
    parts: StoreStream<'a>,
    batch_events: usize,
    horizon: Option<DateTime<Utc>>,
    before: Counts,
) -> BoxStream<'a, Result<Batch, MigrationError>> {
    let cutter = Cutter {
        batch_events: batch_events.max(1),
        counter: Counter::new(before, horizon),
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
    position: StreamPosition,
    events: Vec<TraceEvent>,
    /// Whether some of its events went into an earlier batch.
    is_split: bool,
}

struct Cutter {
    batch_events: usize,
    counter: Counter,
    current: Option<Current>,
    batch: Batch,
    events: usize,
    bytes: usize,
}

impl Cutter {
    fn add(&mut self, part: StorePart) {
        if let StorePart::Header(_) | StorePart::Headerless(_) = part {
            self.end_trace();
        }
        self.counter.add(&part);
        match part {
            StorePart::Header(header) => {
                let (trace_id, position) = (header.trace_id, StreamPosition::of(&header));
                let header = Some(header);
                self.current = Some(Current { header, trace_id, position, events: Vec::new(), is_split: false });
            }
            StorePart::Headerless(trace_id) => {
                let position = StreamPosition::Headerless { trace_id };
                self.current = Some(Current { header: None, trace_id, position, events: Vec::new(), is_split: false });
            }
            StorePart::Events(events) => {
                let Some(current) = &mut self.current else { return };
                self.events += events.len();
                self.bytes += events.iter().map(TraceEvent::approximate_bytes).sum::<usize>();
                if current.events.is_empty() {
                    current.events = events;
                } else {
                    current.events.extend(events);
                }
            }
            StorePart::Unreadable(what) => self.batch.unreadable.push(what),
        }
    }

    fn is_full(&self) -> bool {
        self.events >= self.batch_events || self.bytes >= BATCH_BYTES || self.batch.whole.len() >= BATCH_TRACES
    }

    /// Ends the current trace.
    fn end_trace(&mut self) {
        let Some(Current { header, trace_id, position, events, is_split }) = self.current.take() else { return };
        match header {
            Some(header) if !is_split => self.batch.whole.push(FlowTrace { events, ..header }),
            header => {
                self.batch.events.extend(events.into_iter().map(|event| (trace_id, event)));
                self.batch.ends.extend(header);
            }
        }
        self.batch.checkpoint = Some(Checkpoint { position, counts: self.counter.counts() });
    }

    /// Ends the batch in the middle of the current trace.
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
        Batch { counts: self.counter.counts(), ..std::mem::take(&mut self.batch) }
    }

    fn end(mut self) -> Batch {
        self.end_trace();
        self.cut()
    }
}
