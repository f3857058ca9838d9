//! Runs the suite on a backend without faults, and checks that each fault fails its case.

use reflow_tracing_conformance::faults::Faulty;
use reflow_tracing_conformance::{Report, Subject, Suite};
use reflow_tracing_memory::MemoryStorage;
use reflow_tracing_model::{FlowTrace, TraceId};
use reflow_tracing_storage::layer::{Delete, QueryPage};
use reflow_tracing_storage::{Deletion, Detail, StorageError};

type Fault = fn(Faulty<MemoryStorage>) -> Faulty<MemoryStorage>;

async fn report(case: &str, fault: Fault) -> Report {
    let subject = || async { Ok::<_, StorageError>(Subject::new(fault(Faulty::around(MemoryStorage::new())))) };
    Suite::new().only(case).run(subject).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_faults_keeps_the_contract() {
    report("", |storage| storage).await.assert_passed();
}

fn headers_carry_events(storage: Faulty<MemoryStorage>) -> Faulty<MemoryStorage> {
    storage.after(|QueryPage(request), page| {
        if request.detail == Detail::Headers {
            page.traces.iter_mut().for_each(|trace| trace.events.push(Default::default()));
        }
    })
}

fn traces_carry_no_events(storage: Faulty<MemoryStorage>) -> Faulty<MemoryStorage> {
    storage.after(|QueryPage(_), page| page.traces.iter_mut().for_each(|trace| trace.events.clear()))
}

fn the_total_is_the_length_of_the_page(storage: Faulty<MemoryStorage>) -> Faulty<MemoryStorage> {
    storage.after(|QueryPage(_), page| page.total = page.total.map(|_| page.traces.len() as u64))
}

fn a_total_is_always_there(storage: Faulty<MemoryStorage>) -> Faulty<MemoryStorage> {
    storage.after(|QueryPage(_), page| page.total = page.total.or(Some(3)))
}

fn a_limit_of_0_is_no_limit(storage: Faulty<MemoryStorage>) -> Faulty<MemoryStorage> {
    storage.after(|QueryPage(request), page| {
        if request.query.limit == Some(0) {
            page.traces.push(FlowTrace::default());
        }
    })
}

fn ids_are_counted(storage: Faulty<MemoryStorage>) -> Faulty<MemoryStorage> {
    storage.after(|Delete(deletion), deleted| {
        if let Deletion::Traces(ids) = deletion {
            *deleted = ids.len() as u64;
        }
    })
}

fn deletion_by_time_counts_traces_without_a_header(storage: Faulty<MemoryStorage>) -> Faulty<MemoryStorage> {
    storage.after(|Delete(deletion), deleted| *deleted += u64::from(matches!(deletion, Deletion::StartedBefore(_))))
}

#[tokio::test]
async fn each_fault_fails_the_case_that_is_about_it() {
    let faults: [(Fault, &str); 8] = [
        (headers_carry_events, "paging::headers_carry_no_events_and_traces_carry_all"),
        (traces_carry_no_events, "paging::headers_carry_no_events_and_traces_carry_all"),
        (the_total_is_the_length_of_the_page, "counting::a_total_ignores_the_window"),
        (a_total_is_always_there, "counting::a_total_ignores_the_window"),
        (a_total_is_always_there, "counting::a_limit_of_0_leaves_the_count"),
        (a_limit_of_0_is_no_limit, "counting::a_limit_of_0_leaves_the_count"),
        (ids_are_counted, "deletion::an_id_that_is_named_twice_counts_once"),
        (deletion_by_time_counts_traces_without_a_header, "deletion::events_without_a_header_have_not_started"),
    ];
    for (fault, case) in faults {
        let report = report(case, fault).await;
        assert_eq!(report.verdicts().len(), 1, "{case} is not a case");
        assert!(!report.passed(), "the fault passed {case}");
    }
}

#[tokio::test]
async fn a_fault_before_a_call_keeps_it_from_the_backend_and_one_before_an_item_takes_its_place() {
    use futures::StreamExt;
    use reflow_tracing_storage::layer::{Call, StoreEvent};
    use reflow_tracing_storage::{StorageBackend, TraceEvent};
    use std::future::ready;

    let away = || StorageError::Unavailable("switched off".into());
    let storage = Faulty::around(MemoryStorage::new())
        .before(move |attempt| {
            let refused = attempt.operation().is_some_and(|StoreEvent(_, event)| event.actor_id == "refused");
            ready(if refused { Err(away()) } else { Ok(()) })
        })
        .before_item(move |attempt| {
            let second = attempt.call == Call::StreamEvents && attempt.item == 2;
            ready(if second { Err(away()) } else { Ok(()) })
        });
    let trace_id = TraceId::new();
    let refused = TraceEvent { actor_id: "refused".into(), ..TraceEvent::default() };
    storage.store_event(trace_id, refused).await.unwrap_err();
    assert_eq!(storage.inner().get_events(trace_id).await.unwrap(), []);
    for _ in 0..3 {
        storage.store_event(trace_id, TraceEvent::default()).await.unwrap();
    }
    let items: Vec<_> = storage.stream_events(trace_id).collect().await;
    assert!(matches!(&items[..], [Ok(_), Err(StorageError::Unavailable(_)), Ok(_)]), "{items:?}");
}
