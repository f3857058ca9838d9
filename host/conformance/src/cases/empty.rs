use chrono::DateTime;

use super::super::case::{cases, ensure};
use super::super::compare::same;
use super::super::{Outcome, Store};
use super::sample::{finds, trace, trace_id};
use reflow_tracing_model::{FlowId, TraceQuery};
use reflow_tracing_storage::StorageBackendExt;

cases! { "empty":
    an_empty_store_answers_with_nothing => "A missing trace is not an error: `None`, no events, no traces.",
    an_empty_store_deletes_nothing [Deletion] => "Deletion returns whether there was anything to delete.",
    a_working_store_is_healthy => "health_check succeeds while the store can do its work, and changes nothing.",
    flushing_is_always_allowed => "flush succeeds with or without anything to flush.",
}

async fn an_empty_store_answers_with_nothing(store: &Store) -> Outcome {
    same("get_trace", &store.get_trace(trace_id(1)).await?, &None)?;
    same("get_events", &store.get_events(trace_id(1)).await?, &Vec::new())?;
    finds(store, "any trace", TraceQuery::default(), &[]).await?;
    let page = store.query_page(TraceQuery::default().into()).await?;
    same("the token after the only page", &page.next_page_token, &None)?;
    same("flow_versions", &store.flow_versions(FlowId::new("billing")).await?, &Vec::new())?;
    let stats = store.stats().await?;
    same("stats", &(stats.traces, stats.events, stats.oldest, stats.newest), &(0, 0, None, None))
}

async fn an_empty_store_deletes_nothing(store: &Store) -> Outcome {
    same("delete_trace", &store.delete_trace(trace_id(1)).await?, &false)?;
    same("delete_before", &store.delete_before(DateTime::from_timestamp_nanos(i64::MAX)).await?, &0)
}

async fn a_working_store_is_healthy(store: &Store) -> Outcome {
    store.health_check().await?;
    let stored = trace(1);
    store.store_trace(stored.clone()).await?;
    store.health_check().await?;
    finds(store, "the trace, after a health check", TraceQuery::default(), &[&stored]).await
}

async fn flushing_is_always_allowed(store: &Store) -> Outcome {
    store.flush().await?;
    store.store_trace(trace(1)).await?;
    store.flush().await?;
    ensure!(store.get_trace(trace_id(1)).await?.is_some(), "expected the trace after a flush, found none");
    Ok(())
}
