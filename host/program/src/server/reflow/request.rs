//! Answers every request except events.

use serde_json::json;

use super::super::traffic::{ConnectionTraffic, Reason};
use super::answer::Answer;
use super::message::{RequestId, TraceResponse, TracingRequest, TracingResponse};
use super::traces;
use crate::budget::Account;
use crate::ingest::{Ingest, Session, Subscription};
use reflow_tracing::storage::{FlowTrace, StorageError};

/// Answers a request. Every event before it must be stored.
pub(super) async fn answer(
    request: TracingRequest,
    ingest: &Ingest,
    session: &mut Session,
    subscription: &mut Option<Subscription>,
    traffic: &mut ConnectionTraffic,
    account: &Account,
) -> Answer {
    let storage = ingest.storage();
    let answered = match request {
        TracingRequest::StartTrace { trace_id: None, flow_id, version } => {
            session.start_trace(flow_id, version).await.map(|trace_id| TracingResponse::TraceStarted { trace_id })
        }
        TracingRequest::StartTrace { trace_id: Some(trace_id), flow_id, version } => {
            let started = session.start_trace_as(trace_id, flow_id, version).await;
            started.map(|()| TracingResponse::TraceStarted { trace_id })
        }
        TracingRequest::EndTrace { trace_id, status } => {
            session.end_trace(trace_id, status).await.map(|()| TracingResponse::DONE)
        }
        TracingRequest::RecordEvent { trace_id, event } => {
            Ok(TracingResponse::from(session.record(trace_id, event).await))
        }
        TracingRequest::GetTrace { request_id, trace_id } => {
            let answer = traces::trace_data(storage, trace_id, request_id.as_ref(), account).await;
            return answer.unwrap_or_else(|error| failed(error, request_id, traffic));
        }
        TracingRequest::QueryTraces { request_id, query } => {
            let answer = traces::query_results(storage, query, request_id.as_ref(), account).await;
            return answer.unwrap_or_else(|error| failed(error, request_id, traffic));
        }
        TracingRequest::GetFlowVersions { flow_id } => {
            storage.flow_versions(flow_id).await.map(|versions| TracingResponse::FlowVersions { versions })
        }
        TracingRequest::Ping => Ok(TracingResponse::Pong),
        TracingRequest::Subscribe { filters } => ingest.live().subscribe(filters, Some(account)).map(|new| {
            *subscription = Some(new);
            TracingResponse::DONE
        }),
        TracingRequest::Unsubscribe => {
            *subscription = None;
            Ok(TracingResponse::DONE)
        }
        TracingRequest::StoreTrace { trace } => {
            return Answer::encode(&older(store_trace(session, trace).await, traffic));
        }
        TracingRequest::GetMetrics => {
            let metrics = metrics(ingest, traffic).await;
            return Answer::encode(&older(metrics, traffic));
        }
    };
    match answered {
        Ok(answer) => Answer::of(&answer),
        Err(error) => failed(error, None, traffic),
    }
}

/// The answer to a request that failed.
fn failed(error: StorageError, request_id: Option<RequestId>, traffic: &mut ConnectionTraffic) -> Answer {
    traffic.refused(Reason::from(&error), &error.to_string());
    Answer::of(&match TracingResponse::from(error) {
        TracingResponse::Error { message, code, .. } => TracingResponse::Error { message, code, request_id },
        other => other,
    })
}

async fn store_trace(session: &mut Session, trace: FlowTrace) -> Result<TraceResponse, StorageError> {
    let trace_id = trace.trace_id;
    session.store_trace(trace).await?;
    Ok(TraceResponse::TraceStored { trace_id })
}

/// What Reflow's own server counts, under its names, and what the store holds.
async fn metrics(ingest: &Ingest, traffic: &ConnectionTraffic) -> Result<TraceResponse, StorageError> {
    let stats = ingest.storage().stats().await?;
    let mut data = traffic.for_the_older_family();
    data["traces"] = stats.traces.into();
    data["events"] = stats.events.into();
    data["bytes"] = stats.bytes.into();
    data["oldest"] = json!(stats.oldest);
    data["newest"] = json!(stats.newest);
    Ok(TraceResponse::Metrics { data })
}

fn older(result: Result<TraceResponse, StorageError>, traffic: &mut ConnectionTraffic) -> TraceResponse {
    result.unwrap_or_else(|error| {
        traffic.refused(Reason::from(&error), &error.to_string());
        TraceResponse::Error { message: error.to_string() }
    })
}
