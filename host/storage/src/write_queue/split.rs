//! Finds the invalid elements of a rejected batch.

use std::ops::Range;

use crate::StorageError;

/// Finds the invalid elements of a rejected batch by bisection.
///
/// Only [`StorageError::InvalidArgument`] leads to a bisection, because only this error is caused by an element. After any other
/// error, all elements that are not stored yet fail with it. Writes are idempotent, so storing an element twice is harmless.
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
    /// The parts to try, the next one last.
    parts: Vec<Range<usize>>,
    current: Range<usize>,
    /// In order, without gaps.
    outcomes: Vec<(Range<usize>, Result<(), StorageError>)>,
}

impl Split {
    /// A batch of `len` elements.
    pub fn new(len: usize) -> Self {
        let parts = Vec::from_iter((len > 0).then_some(0..len));
        Self { parts, current: 0..0, outcomes: Vec::new() }
    }

    /// The elements to try next; `None` when all have an outcome.
    #[allow(clippy::should_implement_trait)] // What comes next depends on the outcome.
    pub fn next(&mut self) -> Option<Range<usize>> {
        self.current = self.parts.pop()?;
        Some(self.current.clone())
    }

    /// Records the outcome for the elements that [`next`](Self::next) returned.
    pub fn outcome(&mut self, outcome: Result<(), StorageError>) {
        let range = self.current.clone();
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

    /// The outcome of each element, in order.
    pub fn outcomes(&self) -> impl Iterator<Item = &Result<(), StorageError>> {
        self.outcomes.iter().flat_map(|(range, outcome)| range.clone().map(move |_| outcome))
    }
}
