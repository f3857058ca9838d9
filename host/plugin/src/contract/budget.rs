//! The bytes that the host holds for an instance.

use std::sync::Arc;

/// What an element of a list takes in the host beyond its own bytes, roughly: its place, and the allocation behind it.
const ELEMENT: usize = 64;

/// What the host may still hold for an instance, in bytes. Whoever allocates on behalf of a call takes from it first.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: usize,
    plugin: Arc<str>,
    limit_mb: u32,
}

/// The host would hold more than it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the host would have to hold more than {limit_mb} MiB, the maximum of plugins.{plugin}.limits.result_mb: pass or request less at a \
     time, or raise the limit"
)]
pub(crate) struct OverBudget {
    plugin: Arc<str>,
    limit_mb: u32,
}

impl Budget {
    /// What is left of the limit of `plugin` when the host already holds `held` bytes.
    pub(crate) fn new(plugin: &Arc<str>, limit_mb: u32, held: usize) -> Self {
        let limit = usize::try_from(limit_mb).unwrap_or(usize::MAX).saturating_mul(1024 * 1024);
        Self { left: limit.saturating_sub(held), plugin: Arc::clone(plugin), limit_mb }
    }

    /// A budget of so many bytes.
    #[cfg(test)]
    pub(crate) fn of_bytes(left: usize) -> Self {
        Self { left, plugin: "p".into(), limit_mb: 0 }
    }

    /// The bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Takes `bytes`.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| self.over())?;
        Ok(())
    }

    /// Takes what a list takes whose elements have so many bytes.
    pub(crate) fn take_list(&mut self, elements: impl IntoIterator<Item = usize>) -> Result<(), OverBudget> {
        elements.into_iter().try_for_each(|bytes| self.take(bytes.saturating_add(ELEMENT)))
    }

    /// The error for more than is left.
    pub(crate) fn over(&self) -> OverBudget {
        OverBudget { plugin: Arc::clone(&self.plugin), limit_mb: self.limit_mb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_at_most_what_the_limit_leaves() {
        let mut budget = Budget::new(&"p".into(), 1, 1024 * 1024 - 100);
        budget.take(60).unwrap();
        let error = budget.take(41).unwrap_err().to_string();
        assert!(error.contains("1 MiB") && error.contains("plugins.p.limits.result_mb"), "{error}");
        budget.take(40).unwrap();
        assert_eq!(budget.left(), 0);
        assert!(Budget::new(&"p".into(), 1, usize::MAX).take(1).is_err());
    }

    #[test]
    fn empty_elements_are_not_free() {
        let mut budget = Budget::of_bytes(10 * ELEMENT);
        budget.take_list([0; 10]).unwrap();
        assert!(budget.take_list([0]).is_err());
    }
}
