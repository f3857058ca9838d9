//! Answers every request except events.

use axum::extract::ws::Message;
use serde_json::json;

use super::super::traffic::{ConnectionTraffic, Reason};
use super::frame::encode;
use super::message::{RequestId, TraceResponse, TracingRequest, TracingResponse};
use crate::ingest::{Ingest, Session, Subscription};
use reflow_tracing::TraceQuery;
use reflow_tracing::storage::{FlowTrace, StorageBackendExt, StorageError};

/// Answers a request. Every event before it must be stored.
pub(super) async fn answer(
    request: TracingRequest,
    ingest: &Ingest,
    session: &mut Session,
    subscription: &mut Option<Subscription>,
    traffic: &mut ConnectionTraffic,
) -> Message {
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
        TracingRequest::GetTrace { request_id, trace_id } => match storage.get_trace(trace_id).await {
            Ok(trace) => Ok(TracingResponse::TraceData { request_id, trace }),
            Err(error) => {
                traffic.refused(Reason::from(&error), &error.to_string());
                Ok(failed(error, request_id))
            }
        },
        TracingRequest::QueryTraces { request_id, query } => match query_traces(ingest, query).await {
            Ok((traces, total_count)) => Ok(TracingResponse::QueryResults { request_id, traces, total_count }),
            Err(error) => {
                traffic.refused(Reason::from(&error), &error.to_string());
                Ok(failed(error, request_id))
            }
        },
        TracingRequest::GetFlowVersions { flow_id } => {
            storage.flow_versions(flow_id).await.map(|versions| TracingResponse::FlowVersions { versions })
        }
        TracingRequest::Ping => Ok(TracingResponse::Pong),
        TracingRequest::Subscribe { filters } => {
            *subscription = Some(ingest.live().subscribe(filters));
            Ok(TracingResponse::DONE)
        }
        TracingRequest::Unsubscribe => {
            *subscription = None;
            Ok(TracingResponse::DONE)
        }
        TracingRequest::StoreTrace { trace } => return encode(&older(store_trace(session, trace).await, traffic)),
        TracingRequest::GetMetrics => return encode(&older(metrics(ingest).await, traffic)),
    };
    encode(&answered.unwrap_or_else(|error| {
        traffic.refused(Reason::from(&error), &error.to_string());
        TracingResponse::from(error)
    }))
}

/// The answer to a request that failed.
fn failed(error: StorageError, of: Option<RequestId>) -> TracingResponse {
    match TracingResponse::from(error) {
        TracingResponse::Error { message, code, .. } => TracingResponse::Error { message, code, request_id: of },
        other => other,
    }
}

async fn query_traces(ingest: &Ingest, query: TraceQuery) -> Result<(Vec<FlowTrace>, u64), StorageError> {
    let all = TraceQuery { limit: None, offset: None, page_token: None, ..query.clone() };
    let traces = ingest.storage().query_traces(query).await?;
    let total_count = ingest.storage().count_traces(all).await?;
    Ok((traces, total_count))
}

async fn store_trace(session: &mut Session, trace: FlowTrace) -> Result<TraceResponse, StorageError> {
    let trace_id = trace.trace_id;
    session.store_trace(trace).await?;
    Ok(TraceResponse::TraceStored { trace_id })
}

async fn metrics(ingest: &Ingest) -> Result<TraceResponse, StorageError> {
    let stats = ingest.storage().stats().await?;
    let data = json!({
        "traces": stats.traces,
        "events": stats.events,
        "bytes": stats.bytes,
        "oldest": stats.oldest,
        "newest": stats.newest,
    });
    Ok(TraceResponse::Metrics { data })
}

fn older(result: Result<TraceResponse, StorageError>, traffic: &mut ConnectionTraffic) -> TraceResponse {
    result.unwrap_or_else(|error| {
        traffic.refused(Reason::from(&error), &error.to_string());
        TraceResponse::Error { message: error.to_string() }
    })
}
