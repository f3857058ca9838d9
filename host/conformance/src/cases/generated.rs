use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::super::case::cases;
use super::super::{Failure, History, Outcome, Store, check_against_oracle};

cases! { "generated":
    a_long_history_is_answered_like_the_oracle [Deletion] => "Every result equals the oracle's, whatever is written and deleted.",
    a_long_history_without_deletion_is_answered_like_the_oracle [no Deletion] => "Every result equals the oracle's, whatever is written.",
}

/// The same in every run, so that a failure is reproducible.
fn history() -> Result<History, Failure> {
    let tree = History::any(150, 100)
        .new_tree(&mut TestRunner::deterministic())
        .map_err(|reason| Failure::new(format!("no history to check: {reason}")))?;
    Ok(tree.current())
}

async fn a_long_history_is_answered_like_the_oracle(store: &Store) -> Outcome {
    let history = history()?;
    check_against_oracle(&**store, &history).await
}

async fn a_long_history_without_deletion_is_answered_like_the_oracle(store: &Store) -> Outcome {
    let history = history()?.without_deletion();
    check_against_oracle(&**store, &history).await
}
