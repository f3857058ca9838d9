//! Answers every request except events.

use axum::extract::ws::Message;
use serde_json::json;

use super::frame::encode;
use super::message::{TraceResponse, TracingRequest, TracingResponse};
use crate::ingest::{Ingest, Session, Subscription};
use reflow_tracing::TraceQuery;
use reflow_tracing::storage::{FlowTrace, StorageBackendExt, StorageError};

/// Answers a request. Every event before it must be stored.
pub(super) async fn answer(
    request: TracingRequest,
    ingest: &Ingest,
    session: &mut Session,
    subscription: &mut Option<Subscription>,
) -> Message {
    let storage = ingest.storage();
    let answered = match request {
        TracingRequest::StartTrace { flow_id, version } => {
            session.start_trace(flow_id, version).await.map(|trace_id| TracingResponse::TraceStarted { trace_id })
        }
        TracingRequest::RecordEvent { trace_id, event } => {
            Ok(TracingResponse::from(session.record(trace_id, event).await))
        }
        TracingRequest::GetTrace { trace_id } => {
            storage.get_trace(trace_id).await.map(|trace| TracingResponse::TraceData { trace })
        }
        TracingRequest::QueryTraces { query } => query_traces(ingest, query).await,
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
        TracingRequest::StoreTrace { trace } => return encode(&older(store_trace(session, trace).await)),
        TracingRequest::GetMetrics => return encode(&older(metrics(ingest).await)),
    };
    encode(&answered.unwrap_or_else(TracingResponse::from))
}

async fn query_traces(ingest: &Ingest, query: TraceQuery) -> Result<TracingResponse, StorageError> {
    let all = TraceQuery { limit: None, offset: None, page_token: None, ..query.clone() };
    let traces = ingest.storage().query_traces(query).await?;
    let total_count = ingest.storage().count_traces(all).await?;
    Ok(TracingResponse::QueryResults { traces, total_count })
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

fn older(result: Result<TraceResponse, StorageError>) -> TraceResponse {
    result.unwrap_or_else(|error| TraceResponse::Error { message: error.to_string() })
}
