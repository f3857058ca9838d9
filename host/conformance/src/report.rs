use std::fmt;
use std::time::Duration;

use super::{Case, Failure, Outcome};

/// The result of a run. Displays one line per case.
#[derive(Debug, Default)]
#[must_use = "a failed case shows only here"]
pub struct Report {
    verdicts: Vec<Verdict>,
}

/// The result of one case.
#[derive(Debug)]
pub struct Verdict {
    /// The case.
    pub case: &'static Case,
    /// Why it failed; `None` when it passed.
    pub failure: Option<Failure>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    pub(super) fn add(&mut self, case: &'static Case, outcome: Outcome, took: Duration) -> &Verdict {
        self.verdicts.push_mut(Verdict { case, failure: outcome.err(), took })
    }

    /// The verdicts, in the order of the run.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.failure.is_some())
    }

    /// Whether there were cases and all of them passed.
    pub fn passed(&self) -> bool {
        !self.verdicts.is_empty() && self.failed().next().is_none()
    }

    /// Panics with the whole report unless every case passed.
    pub fn assert_passed(&self) {
        assert!(self.passed(), "\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for verdict in &self.verdicts {
            writeln!(f, "{verdict}")?;
        }
        write!(f, "{} cases, {} failed", self.verdicts.len(), self.failed().count())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.took.as_millis();
        match &self.failure {
            None => write!(f, "ok     {milliseconds:>6} ms  {}", self.case.name),
            Some(failure) => {
                writeln!(f, "FAILED {milliseconds:>6} ms  {}: {failure}", self.case.name)?;
                write!(f, "                  the contract: {}", self.case.contract)
            }
        }
    }
}
