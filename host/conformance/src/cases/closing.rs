use futures::StreamExt;

use super::super::case::cases;
use super::super::{Failure, Outcome, Store};
use super::sample::{event, trace, trace_id, with_events};
use reflow_tracing_model::{FlowId, TraceQuery};
use reflow_tracing_storage::StorageBackendExt;

cases! { "closing":
    closing_succeeds => "close succeeds after writes.",
    calls_after_closing_come_to_an_end => "Calls after close may fail; they neither panic nor hang.",
    closing_amid_other_calls_leaves_none_hanging => "Calls in progress during close may fail; they neither panic nor hang.",
}

async fn closing_succeeds(store: &Store) -> Outcome {
    store.store_trace(trace(1)).await?;
    store.close().await?;
    Ok(())
}

/// Calls every method. The results don't matter: only a panic or a hang fails the case.
async fn call_everything(store: &Store, number: u32) {
    let _ = store.store_trace(with_events(trace(number), [event(1)])).await;
    let _ = store.get_trace(trace_id(number.into())).await;
    let _ = store.query_traces(TraceQuery::default()).await;
    let _ = store.store_event(trace_id(number.into()), event(2)).await;
    let _ = store.get_events(trace_id(number.into())).await;
    let _ = store.health_check().await;
    let _ = store.store_traces(vec![trace(number), trace(number + 1)]).await;
    let _ = store.store_events(vec![(trace_id(number.into()), event(3))]).await;
    let _ = store.query_page(TraceQuery::default().into()).await;
    let _ = store.query_headers(TraceQuery::default()).await;
    let _ = store.warnings();
    let _: Vec<_> = store.stream_traces(TraceQuery::default()).collect().await;
    let _ = store.headerless_traces(None, 10).await;
    let _ = store.retention_horizon();
    let _ = store.count_traces(TraceQuery::default()).await;
    let _ = store.get_headers(vec![trace_id(number.into())]).await;
    let _: Vec<_> = store.stream_events(trace_id(number.into())).collect().await;
    let _ = store.delete_trace(trace_id(number.into())).await;
    let _ = store.delete_before(trace(number).start_time).await;
    let _ = store.drop_oldest_partition(trace(number).start_time).await;
    let _ = store.flow_versions(FlowId::new("billing")).await;
    let _ = store.stats().await;
    let _ = store.get_metrics().await;
    let _ = store.flush().await;
}

async fn calls_after_closing_come_to_an_end(store: &Store) -> Outcome {
    store.store_trace(with_events(trace(1), [event(1)])).await?;
    store.close().await?;
    call_everything(store, 1).await;
    let _ = store.close().await;
    call_everything(store, 1).await;
    Ok(())
}

async fn closing_amid_other_calls_leaves_none_hanging(store: &Store) -> Outcome {
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..3 {
                    call_everything(&store, caller * 10 + 1).await;
                }
            })
        })
        .collect();
    // Some calls are in progress, and others follow.
    tokio::task::yield_now().await;
    let _ = store.close().await;
    for caller in callers {
        caller.await.map_err(Failure::of_task)?;
    }
    Ok(())
}
