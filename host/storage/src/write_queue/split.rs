//! The one rule for a batch that is refused.

use std::ops::Range;

use crate::StorageError;

/// Finds out which elements of a batch are to blame when it is refused.
///
/// Only what is *invalid* ([`StorageError::InvalidArgument`]) is looked for, by halving, because only that is a matter of
/// the elements. Every other failure is one of the store, which is not asked again: it fails what has not been stored yet.
/// Writes are idempotent, so a half that was stored with the whole may be stored again.
///
/// ```
/// use reflow_tracing_storage::StorageError;
/// use reflow_tracing_storage::write_queue::Split;
///
/// let numbers = [1, 2, -3, 4];
/// let mut split = Split::new(numbers.len());
/// while let Some(range) = split.next() {
///     let is_valid = numbers[range].iter().all(|number| *number > 0);
///     split.outcome(if is_valid { Ok(()) } else { Err(StorageError::InvalidArgument("negative".into())) });
/// }
/// let stored: Vec<_> = split.outcomes().map(|outcome| outcome.is_ok()).collect();
/// assert_eq!(stored, [true, true, false, true]);
/// ```
pub struct Split {
    /// What has to be tried, the next one last.
    parts: Vec<Range<usize>>,
    under_way: Range<usize>,
    /// In order, without a gap.
    outcomes: Vec<(Range<usize>, Result<(), StorageError>)>,
}

impl Split {
    /// A batch of so many elements.
    pub fn new(len: usize) -> Self {
        let parts = Vec::from_iter((len > 0).then_some(0..len));
        Self { parts, under_way: 0..0, outcomes: Vec::new() }
    }

    /// The elements to be tried next; `None` when all of them have an outcome.
    #[allow(clippy::should_implement_trait)] // What comes next depends on the outcome.
    pub fn next(&mut self) -> Option<Range<usize>> {
        self.under_way = self.parts.pop()?;
        Some(self.under_way.clone())
    }

    /// What became of the elements that [`next`](Self::next) gave.
    pub fn outcome(&mut self, outcome: Result<(), StorageError>) {
        let range = self.under_way.clone();
        match &outcome {
            Err(StorageError::InvalidArgument(_)) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                self.parts.extend([middle..range.end, range.start..middle]);
                return;
            }
            Ok(()) | Err(StorageError::InvalidArgument(_)) => {}
            Err(error) => {
                self.outcomes.push((range, outcome.clone()));
                let rest = self.parts.drain(..).rev().map(|range| (range, Err(error.clone())));
                return self.outcomes.extend(rest);
            }
        }
        self.outcomes.push((range, outcome));
    }

    /// What became of each element, in order.
    pub fn outcomes(&self) -> impl Iterator<Item = &Result<(), StorageError>> {
        self.outcomes.iter().flat_map(|(range, outcome)| range.clone().map(move |_| outcome))
    }
}
