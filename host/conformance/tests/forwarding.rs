//! Runs the suite for forwarders on one that keeps the contract, and checks that each fault fails its case.

use std::time::Duration;

use reflow_tracing_conformance::faults::Faulty;
use reflow_tracing_conformance::{Answer, Receiver, Report, Subject, Suite};
use reflow_tracing_memory::MemoryStorage;
use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::layer::Purpose;

/// What a forwarder makes of an answer.
type Reaction = fn(Answer) -> Result<(), StorageError>;

fn correct(answer: Answer) -> Result<(), StorageError> {
    match answer {
        Answer::Accept => Ok(()),
        Answer::Refuse(status @ 500..) => Err(StorageError::Unavailable(format!("it answered {status}"))),
        Answer::Refuse(status) => Err(StorageError::InvalidArgument(format!("it answered {status}"))),
        Answer::Silence => Err(StorageError::Unavailable("it did not answer".into())),
    }
}

/// A forwarder whose receiver is a store in memory.
async fn report(reaction: Reaction) -> Report {
    let subject = || async {
        let receiver = Receiver::default();
        let asked = receiver.clone();
        let storage = Faulty::around(MemoryStorage::new()).before(move |attempt| {
            let asked = (attempt.call.purpose() == Purpose::Write).then(|| asked.next_answer());
            async move {
                match asked {
                    None => Ok(()),
                    Some(answer) => {
                        if answer == Answer::Silence {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                        reaction(answer)
                    }
                }
            }
        });
        Ok(Subject::new(storage).received_by(receiver))
    };
    Suite::of_forwarder().run(subject).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correct_forwarder_passes() {
    report(correct).await.assert_passed();
}

async fn fails(reaction: Reaction, cases: &[&str]) {
    let report = report(reaction).await;
    let failed: Vec<_> = report.failed().map(|verdict| verdict.case.name).collect();
    let expected: Vec<_> = cases.iter().map(|case| format!("forwarding::{case}")).collect();
    assert_eq!(failed, expected, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_asks_for_a_retry_is_found() {
    fails(
        |answer| correct(answer).map_err(|error| StorageError::Unavailable(error.to_string())),
        &["a_refusal_is_a_permanent_error"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_final_is_found() {
    fails(
        |answer| correct(answer).map_err(|error| StorageError::InvalidArgument(error.to_string())),
        &[
            "a_failing_receiver_is_a_retryable_error",
            "an_acknowledged_batch_has_arrived_whole",
            "a_silent_receiver_costs_a_bounded_time",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_what_was_not_accepted_is_found() {
    fails(
        |_| Ok(()),
        &[
            "a_failing_receiver_is_a_retryable_error",
            "a_refusal_is_a_permanent_error",
            "what_failed_arrives_when_it_is_written_again",
            "a_silent_receiver_costs_a_bounded_time",
        ],
    )
    .await;
}
