use std::time::Duration;

use uuid::Uuid;

use super::super::case::{cases, ensure};
use super::super::compare::same;
use super::super::{Outcome, Store};
use super::sample::{event, trace, trace_id, with_events};
use reflow_tracing_model::{ExecutionStatus, FlowId, FlowTrace, MAX_NAME_BYTES};
use reflow_tracing_storage::{StorageBackendExt, StorageError};

cases! { "leases":
    a_lease_is_valid_until_it_expires => "renew_lease says whether the lease was valid, or fails with Unsupported.",
    a_beginning_does_not_replace_a_header => "begin_traces stores only the headers of traces that have none.",
    a_trace_ends_when_the_last_host_leaves_it => "leave_traces ends only traces that no other host holds.",
    an_end_is_not_replaced_by_leaving => "leave_traces leaves traces alone that have ended.",
    what_a_dead_host_held_is_found => "abandoned_traces lists what only hosts without a valid lease hold.",
}

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);
const LONG: Duration = Duration::from_secs(3_600);

/// Starts the leases of the hosts. Returns whether the store has leases.
async fn has_leases(store: &Store, hosts: &[Uuid]) -> Result<bool, StorageError> {
    for host in hosts {
        match store.renew_lease(*host, LONG).await {
            Err(StorageError::Unsupported(_)) => return Ok(false),
            answer => answer?,
        };
    }
    Ok(true)
}

fn running(number: u32) -> FlowTrace {
    FlowTrace { status: ExecutionStatus::Running, end_time: None, ..trace(number) }
}

fn ended(number: u32, status: ExecutionStatus) -> FlowTrace {
    let header = running(number);
    FlowTrace { status, end_time: Some(header.start_time), ..header }
}

async fn header(store: &Store, number: u32) -> Result<Option<FlowTrace>, StorageError> {
    Ok(store.get_headers(vec![trace_id(number.into())]).await?.pop().flatten())
}

async fn a_lease_is_valid_until_it_expires(store: &Store) -> Outcome {
    if !has_leases(store, &[A]).await? {
        return Ok(());
    }
    ensure!(!store.renew_lease(B, LONG).await?, "the first renewal begins the lease");
    ensure!(store.renew_lease(A, Duration::ZERO).await?, "the lease was valid");
    ensure!(!store.renew_lease(A, LONG).await?, "the lease had expired");
    ensure!(store.renew_lease(B, LONG).await?, "another host's lease is its own");
    Ok(())
}

async fn a_beginning_does_not_replace_a_header(store: &Store) -> Outcome {
    if !has_leases(store, &[A]).await? {
        return Ok(());
    }
    store.store_trace(ended(1, ExecutionStatus::Completed)).await?;
    store.store_event(trace_id(2), event(2)).await?;
    store.begin_traces(A, vec![running(1), running(2), running(3)]).await?;
    store.begin_traces(A, vec![running(3)]).await?;
    same("the trace that was there", &header(store, 1).await?, &Some(ended(1, ExecutionStatus::Completed)))?;
    let with_event = store.get_trace(trace_id(2)).await?;
    same("the trace that had an event", &with_event, &Some(with_events(running(2), [event(2)])))?;
    same("the new trace", &header(store, 3).await?, &Some(running(3)))?;
    let invalid = FlowTrace { flow_id: FlowId::new("x".repeat(MAX_NAME_BYTES + 1)), ..running(4) };
    let refused = store.begin_traces(A, vec![running(5), invalid]).await;
    ensure!(matches!(refused, Err(StorageError::InvalidArgument(_))), "expected InvalidArgument, found {refused:?}");
    same("one invalid header rejects all", &header(store, 5).await?, &None)
}

async fn a_trace_ends_when_the_last_host_leaves_it(store: &Store) -> Outcome {
    if !has_leases(store, &[A, B]).await? {
        return Ok(());
    }
    for host in [A, B] {
        store.begin_traces(host, vec![running(1), running(2)]).await?;
    }
    let cancelled = |number| ended(number, ExecutionStatus::Cancelled);
    store.leave_traces(A, vec![cancelled(1), cancelled(2)]).await?;
    same("while B holds it", &header(store, 1).await?, &Some(running(1)))?;
    store.leave_traces(B, vec![cancelled(1), running(2)]).await?;
    same("when both left", &header(store, 1).await?, &Some(cancelled(1)))?;
    same("a header without an end", &header(store, 2).await?, &Some(running(2)))
}

async fn an_end_is_not_replaced_by_leaving(store: &Store) -> Outcome {
    if !has_leases(store, &[A]).await? {
        return Ok(());
    }
    store.begin_traces(A, vec![running(1)]).await?;
    store.store_trace(ended(1, ExecutionStatus::Completed)).await?;
    for _ in 0..2 {
        store.leave_traces(A, vec![ended(1, ExecutionStatus::Cancelled)]).await?;
        same("the end", &header(store, 1).await?, &Some(ended(1, ExecutionStatus::Completed)))?;
    }
    Ok(())
}

async fn what_a_dead_host_held_is_found(store: &Store) -> Outcome {
    if !has_leases(store, &[A, B]).await? {
        return Ok(());
    }
    store.begin_traces(A, vec![running(1), running(2), running(3)]).await?;
    store.begin_traces(B, vec![running(2), running(4)]).await?;
    store.leave_traces(A, vec![ended(3, ExecutionStatus::Completed)]).await?;
    same("while both live", &store.abandoned_traces(10).await?, &Vec::new())?;
    store.renew_lease(A, Duration::ZERO).await?;
    same("when A died", &store.abandoned_traces(10).await?, &vec![(A, trace_id(1))])?;
    store.leave_traces(A, vec![ended(1, ExecutionStatus::Cancelled)]).await?;
    same("the end", &header(store, 1).await?, &Some(ended(1, ExecutionStatus::Cancelled)))?;
    same("what B holds too", &header(store, 2).await?, &Some(running(2)))?;
    same("when that was ended", &store.abandoned_traces(10).await?, &Vec::new())?;
    store.renew_lease(B, Duration::ZERO).await?;
    let mut all = store.abandoned_traces(10).await?;
    all.sort_unstable();
    let mut expected = vec![(A, trace_id(2)), (B, trace_id(2)), (B, trace_id(4))];
    expected.sort_unstable();
    same("when both died", &all, &expected)?;
    same("at most so many", &store.abandoned_traces(1).await?.len(), &1)
}
