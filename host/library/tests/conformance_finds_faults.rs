//! The suite is worth something only if a faulty backend fails it, at the case that is about its fault.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use reflow_tracing::storage::{StorageBackend, StorageError};
use reflow_tracing::{FlowTrace, SortOrder, TraceEvent, TraceId, TraceQuery};
use reflow_tracing_conformance::{Ability, Oracle, Report, Subject, Suite};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    TheLaterEventWins,
    EventsNeedAHeader,
    EventsInOrderOfArrival,
    HeaderIsKept,
    MicrosecondsOnly,
    NegativeZeroIsZero,
    AnyCase,
    TagsForgetTheActor,
    EndIsExclusive,
    TiesByDescendingId,
    LimitIsIgnored,
    LongLimitIsCut,
    AnythingIsValid,
    Panics,
    Hangs,
    PanicsOnceClosed,
    NeverOpens,
}

use Fault::*;

struct Faulty(Fault, Mutex<Oracle>);

#[async_trait]
impl StorageBackend for Faulty {
    async fn store_trace(&self, mut trace: FlowTrace) -> Result<(), StorageError> {
        if self.0 != AnythingIsValid {
            trace.validate()?;
        }
        if self.0 == MicrosecondsOnly {
            let nanos = trace.start_time.timestamp_nanos_opt().unwrap_or_default();
            trace.start_time = chrono::DateTime::from_timestamp_nanos(nanos / 1_000 * 1_000);
        }
        if self.0 == NegativeZeroIsZero {
            let metrics = trace.events.iter_mut().map(|event| &mut event.data.performance_metrics);
            metrics.filter_map(|metrics| metrics.cpu_usage_percent.as_mut()).for_each(|percent| *percent += 0.0);
        }
        let mut oracle = self.1.lock().unwrap();
        if let Some(earlier) = oracle.trace(trace.trace_id)
            && self.0 == HeaderIsKept
        {
            trace = FlowTrace { events: trace.events, ..earlier };
        }
        oracle.store_trace(trace);
        Ok(())
    }

    async fn get_trace(&self, trace_id: TraceId) -> Result<Option<FlowTrace>, StorageError> {
        assert!(self.0 != Panics, "the driver gave up");
        Ok(self.1.lock().unwrap().trace(trace_id))
    }

    async fn query_traces(&self, mut query: TraceQuery) -> Result<Vec<FlowTrace>, StorageError> {
        if self.0 == LongLimitIsCut {
            query.limit = query.limit.map(|limit| limit.min(TraceQuery::MAX_LIMIT));
        }
        query.validate().map_err(StorageError::InvalidArgument)?;
        if self.0 == Hangs {
            std::future::pending::<()>().await;
        }
        if self.0 == LimitIsIgnored {
            query.limit = Some(TraceQuery::MAX_LIMIT);
        }
        if self.0 == TagsForgetTheActor && !query.tags.is_empty() {
            query.actor_filter = None;
        }
        let filter = if self.0 == AnyCase { query.actor_filter.take() } else { None };
        let mut traces = self.1.lock().unwrap().query(&query);
        if let Some(part) = filter {
            let lower = part.to_lowercase();
            traces.retain(|trace| trace.events.iter().any(|event| event.actor_id.to_lowercase().contains(&lower)));
        }
        if let (Some((_, end)), EndIsExclusive) = (query.time_range, self.0) {
            traces.retain(|trace| trace.start_time < end);
        }
        if self.0 == TiesByDescendingId {
            traces.sort_by_key(|trace| std::cmp::Reverse((trace.start_time, trace.trace_id)));
            if query.order == SortOrder::OldestFirst {
                traces.reverse();
            }
        }
        Ok(traces)
    }

    async fn store_event(&self, trace_id: TraceId, event: TraceEvent) -> Result<(), StorageError> {
        if self.0 != AnythingIsValid {
            event.validate()?;
        }
        let mut oracle = self.1.lock().unwrap();
        if self.0 == EventsNeedAHeader && oracle.trace(trace_id).is_none() {
            return Err(StorageError::NotFound(format!("trace {trace_id}")));
        }
        let stored = oracle.events(trace_id);
        if self.0 == TheLaterEventWins && stored.iter().any(|stored| stored.event_id == event.event_id) {
            let header = oracle.trace(trace_id);
            oracle.delete_trace(trace_id);
            header.into_iter().for_each(|header| oracle.store_trace(FlowTrace { events: Vec::new(), ..header }));
            let others = stored.into_iter().filter(|stored| stored.event_id != event.event_id);
            others.for_each(|stored| oracle.store_event(trace_id, stored));
        }
        oracle.store_event(trace_id, event);
        Ok(())
    }

    async fn get_events(&self, trace_id: TraceId) -> Result<Vec<TraceEvent>, StorageError> {
        let mut events = self.1.lock().unwrap().events(trace_id);
        if self.0 == EventsInOrderOfArrival {
            events.sort_by_key(|event| event.event_id);
        }
        Ok(events)
    }

    async fn health_check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StorageError> {
        if self.0 == PanicsOnceClosed {
            // Poisons the lock that everything else takes.
            let closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _oracle = self.1.lock();
                panic!("closed");
            }));
            assert!(closed.is_err());
        }
        Ok(())
    }
}

async fn report(fault: Fault, suite: Suite) -> Report {
    let suite = suite.without(Ability::Deletion).time_limit(Duration::from_millis(300));
    suite
        .run(|| async move {
            if fault == NeverOpens {
                return Err(StorageError::Unavailable("no database".into()));
            }
            Ok(Subject::new(Faulty(fault, Mutex::default())))
        })
        .await
}

#[tokio::test]
async fn each_fault_fails_the_case_for_it() {
    for (fault, case) in [
        (TheLaterEventWins, "writes::another_event_of_the_same_time_and_id_changes_nothing"),
        (EventsNeedAHeader, "writes::events_without_a_header_are_kept"),
        (EventsInOrderOfArrival, "writes::events_come_in_their_order_whatever_order_they_were_stored_in"),
        (HeaderIsKept, "replacing::a_later_header_replaces_the_earlier_one"),
        (MicrosecondsOnly, "fidelity::times_come_back_to_the_nanosecond"),
        (NegativeZeroIsZero, "fidelity::floats_come_back_bit_by_bit"),
        (TagsForgetTheActor, "pairs::each_pair_of_predicates_finds_what_both_find"),
        (AnyCase, "actors::an_actor_is_matched_case_sensitively"),
        (EndIsExclusive, "predicates::a_time_range_includes_its_bounds"),
        (TiesByDescendingId, "order::traces_of_one_start_come_by_trace_id"),
        (LimitIsIgnored, "order::a_limit_bounds_the_answer"),
        (LongLimitIsCut, "arguments::a_limit_over_the_maximum_is_refused"),
        (AnythingIsValid, "arguments::names_over_the_limit_are_refused"),
        (AnythingIsValid, "arguments::leap_seconds_are_refused"),
        (PanicsOnceClosed, "closing::calls_after_closing_come_to_an_end"),
        (Panics, "writes::storing_a_trace_again_changes_nothing"),
        (Hangs, "order::the_newest_trace_comes_first"),
        (NeverOpens, "empty::a_working_store_is_healthy"),
    ] {
        let report = report(fault, Suite::new().only(case)).await;
        assert_eq!(report.verdicts().len(), 1, "{case} is not a case");
        assert!(!report.passed(), "{fault:?} passed {case}");
    }
}

#[tokio::test]
async fn a_panic_and_an_overrun_fail_their_case_only_and_say_so() {
    let panicking = report(Panics, Suite::new().only("empty::")).await;
    assert!(panicking.failed().count() < panicking.verdicts().len(), "{panicking}");
    assert!(panicking.to_string().contains("a panic: the driver gave up"), "{panicking}");
    let hanging = report(Hangs, Suite::new().only("actors::")).await;
    assert!(hanging.to_string().contains("still not done after 300ms"), "{hanging}");
}

#[tokio::test]
async fn a_report_says_what_was_expected_found_and_promised() {
    let report = report(MicrosecondsOnly, Suite::new().only("fidelity::times")).await.to_string();
    for part in ["FAILED", ".start_time to be", "found", "the contract: Nanoseconds are kept", "1 cases, 1 failed"] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
}

#[test]
fn a_failing_generated_history_is_shrunk() {
    let suite = Suite::new().without(Ability::Deletion);
    let failure = suite
        .check_generated(500, || async { Ok(Subject::new(Faulty(TheLaterEventWins, Mutex::default()))) })
        .unwrap_err()
        .to_string();
    let writes = failure.matches("event_id: EventId").count();
    assert!(writes <= 4, "{writes} events in the smallest history:\n{failure}");
}

#[tokio::test]
async fn a_run_without_cases_does_not_pass() {
    assert!(!report(HeaderIsKept, Suite::new().only("no such case")).await.passed());
}

#[test]
fn case_names_are_unique() {
    let names: Vec<_> = Suite::new().cases().map(|case| case.name).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}
