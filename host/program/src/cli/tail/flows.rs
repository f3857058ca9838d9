//! The flows of traces, which notifications do not name.
//!
//! A connection of its own asks for the trace of an event whose flow is unknown. Nothing waits for the answer but the line of
//! that event, and that only for a moment.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hashlink::LruCache;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::client::{ClientError, Connection, HostUrl};
use crate::server::reflow::TracingRequest;
use reflow_tracing::{FlowId, TraceId};

/// The traces whose flows are remembered.
const REMEMBERED: usize = 10_000;

/// The longest time that a line waits for its flow.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time until an unknown flow is asked for again: its trace may have started by then.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The questions that may wait.
const WAITING: usize = 1_024;

type Flow = Shared<BoxFuture<'static, Option<FlowId>>>;
type Question = (TraceId, oneshot::Sender<Option<FlowId>>);

/// Knows the flows of traces.
pub(super) struct Flows {
    only: Option<FlowId>,
    known: Mutex<LruCache<TraceId, (Flow, Instant)>>,
    questions: mpsc::Sender<Question>,
}

impl Flows {
    /// Asks the host for the flows, unless there is only one.
    pub(super) fn new(url: HostUrl, only: Option<FlowId>) -> Self {
        let (questions, receiver) = mpsc::channel(WAITING);
        tokio::spawn(answer(url, receiver));
        Self { only, known: Mutex::new(LruCache::new(REMEMBERED)), questions }
    }

    /// The flow of a trace, or `None` if it is not known soon.
    pub(super) async fn of(&self, trace_id: TraceId) -> Option<FlowId> {
        if self.only.is_some() {
            return self.only.clone();
        }
        let flow = self.asked(trace_id);
        tokio::time::timeout(PATIENCE, flow).await.ok().flatten()
    }

    fn asked(&self, trace_id: TraceId) -> Flow {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((flow, since)) = known.get(&trace_id)
            && (flow.peek() != Some(&None) || since.elapsed() < ASK_AGAIN)
        {
            return flow.clone();
        }
        let (sender, answer) = oneshot::channel();
        let questions = self.questions.clone();
        let flow = async move {
            questions.send((trace_id, sender)).await.ok()?;
            answer.await.ok().flatten()
        };
        let flow = flow.boxed().shared();
        known.insert(trace_id, (flow.clone(), Instant::now()));
        flow
    }
}

/// Answers questions as long as there are any.
async fn answer(url: HostUrl, mut questions: mpsc::Receiver<Question>) {
    while let Some(first) = questions.recv().await {
        // The stream of events reports what is wrong with the host. A question without an answer has none.
        if let Ok(connection) = Connection::open(&url).await {
            let _ = ask_all(connection, first, &mut questions).await;
        }
    }
}

/// Asks until the connection ends. The answers come in the order of the questions.
async fn ask_all(
    mut connection: Connection,
    first: Question,
    questions: &mut mpsc::Receiver<Question>,
) -> Result<(), ClientError> {
    let mut asked = VecDeque::new();
    let mut next = Some(first);
    loop {
        if let Some((trace_id, answer)) = next.take() {
            asked.push_back(answer);
            connection.send(&TracingRequest::GetTrace { request_id: None, trace_id }).await?;
        }
        tokio::select! {
            question = questions.recv() => match question {
                Some(question) => next = Some(question),
                None => break,
            },
            text = connection.receive() => {
                let flow = match connection.parse(&text?) {
                    Ok(Answer::TraceData { trace }) => trace.map(|trace| trace.flow_id),
                    // The trace can't be read, or is too large to be sent.
                    Err(ClientError::Refused { .. }) => None,
                    Err(error) => return Err(error),
                };
                if let Some(answer) = asked.pop_front() {
                    let _ = answer.send(flow);
                }
            }
        }
    }
    connection.close().await;
    Ok(())
}

/// What is read of the answer.
#[derive(Deserialize)]
enum Answer {
    TraceData { trace: Option<Header> },
}

#[derive(Deserialize)]
struct Header {
    flow_id: FlowId,
}
