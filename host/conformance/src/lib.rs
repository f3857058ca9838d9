//! The conformance suite for every backend: built in, plugin or custom.
//!
//! Each [`Case`] checks a sentence of the contract of [`StorageBackend`]. The test of a backend is a function that opens a
//! fresh, empty store:
//!
//! ```
//! use reflow_tracing_conformance as conformance;
//! use reflow_tracing_memory::MemoryStorage;
//!
//! # #[tokio::main]
//! # async fn main() {
//! let report = conformance::run(|| async { Ok(conformance::Subject::new(MemoryStorage::new())) }).await;
//! report.assert_passed();
//! # }
//! ```
//!
//! A store in a temporary directory passes its guard to [`Subject::keeping`]. [`Suite`] has the options. In addition,
//! [`check_generated`] compares a backend with the [`Oracle`] for generated writes and queries, and shrinks a failure to the
//! smallest history.

mod case;
mod cases;
mod compare;
pub mod faults;
pub mod generate;
mod history;
mod oracle;
mod receiver;
mod report;

use std::any::Any;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use case::{Ability, Case, Failure, Outcome, Store};
pub use history::{History, Write, check_against_oracle, check_generated};
pub use oracle::Oracle;
pub use receiver::{Answer, Receiver};
pub use report::{Report, Verdict};

use reflow_tracing_storage::{StorageBackend, StorageError};

/// A fresh, empty store for one case, with the values that must live as long.
pub struct Subject {
    store: Store,
    receiver: Option<Receiver>,
    kept: Vec<Box<dyn Any + Send>>,
}

impl Subject {
    /// A subject for `backend`.
    pub fn new(backend: impl StorageBackend + 'static) -> Self {
        Self::shared(Arc::new(backend))
    }

    /// The same for a shared backend.
    pub fn shared(store: Store) -> Self {
        Self { store, receiver: None, kept: Vec::new() }
    }

    /// The receiver of a forwarder; see [`Suite::of_forwarder`].
    #[must_use]
    pub fn received_by(self, receiver: Receiver) -> Self {
        Self { receiver: Some(receiver), ..self }
    }

    /// Keeps `value`, such as the guard of a temporary directory, until the case ends.
    #[must_use]
    pub fn keeping(mut self, value: impl Any + Send) -> Self {
        self.kept.push(Box::new(value));
        self
    }
}

/// Runs every case with the default options; see [`Suite::run`].
pub async fn run<F, Fut>(factory: F) -> Report
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Subject, StorageError>>,
{
    Suite::new().run(factory).await
}

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Suite {
    forwarder: bool,
    absent: Vec<Ability>,
    time_limit: Duration,
    only: Option<String>,
    names: Option<BTreeSet<&'static str>>,
}

impl Default for Suite {
    fn default() -> Self {
        Self::new()
    }
}

impl Suite {
    /// Every case, each with 60 seconds.
    pub fn new() -> Self {
        let time_limit = Duration::from_secs(60);
        Self { forwarder: false, absent: Vec::new(), time_limit, only: None, names: None }
    }

    /// The cases for a forwarder, which sends what is written to a receiver and answers no read.
    ///
    /// The reads of its [`Subject`] return what the receiver accepted, as a store would return it. Cases about failures tell the
    /// receiver, given with [`Subject::received_by`], how to answer.
    pub fn of_forwarder() -> Self {
        Self { forwarder: true, ..Self::new() }
    }

    /// The backend lacks this optional ability. Its cases are skipped, and its methods must return
    /// [`StorageError::Unsupported`].
    #[must_use]
    pub fn without(mut self, ability: Ability) -> Self {
        self.absent.push(ability);
        self
    }

    /// The time limit of a case, without opening its store.
    #[must_use]
    pub fn time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// Only the cases whose name contains `part`.
    #[must_use]
    pub fn only(mut self, part: impl Into<String>) -> Self {
        self.only = Some(part.into());
        self
    }

    /// Only the cases with these names.
    #[must_use]
    pub fn only_these(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.names = Some(names.into_iter().collect());
        self
    }

    /// The cases that these options select.
    pub fn cases(&self) -> impl Iterator<Item = &'static Case> {
        let topics = if self.forwarder { cases::OF_FORWARDER } else { cases::OF_STORE };
        topics.iter().copied().flatten().filter(|case| {
            self.only.as_ref().is_none_or(|part| case.name.contains(part.as_str()))
                && self.names.as_ref().is_none_or(|names| names.contains(case.name))
                && case.applies(&self.absent)
        })
    }

    /// Runs the cases one after another, each on its own store from `factory`.
    ///
    /// An error, a panic or a timeout fails only its own case. Call it within a Tokio runtime with a timer; some cases write
    /// from several tasks at once, which a runtime with several threads makes a harder test.
    pub async fn run<F, Fut>(&self, factory: F) -> Report
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<Subject, StorageError>>,
    {
        self.run_telling(factory, |_| {}).await
    }

    /// Like [`run`](Self::run), and calls `each` with the verdict of each case.
    pub async fn run_telling<F, Fut>(&self, factory: F, mut each: impl FnMut(&Verdict)) -> Report
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<Subject, StorageError>>,
    {
        let mut report = Report::default();
        for case in self.cases() {
            let (outcome, took) = match factory().await {
                Ok(subject) => self.run_case(case, subject).await,
                Err(error) => (Err(Failure::new(format!("no store to test: {error}"))), Duration::ZERO),
            };
            each(report.add(case, outcome, took));
        }
        report
    }

    async fn run_case(&self, case: &'static Case, subject: Subject) -> (Outcome, Duration) {
        let Subject { store, receiver, kept } = subject;
        let started = Instant::now();
        // A separate task catches a panic of the case or of the backend.
        let mut task = tokio::spawn(case.run_with(store.clone(), receiver));
        let outcome = match tokio::time::timeout(self.time_limit, &mut task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(Failure::of_task(error)),
            Err(_) => {
                task.abort();
                Err(Failure::new(format!("still not done after {:?}", self.time_limit)))
            }
        };
        let took = started.elapsed();
        // Another case checks that closing succeeds.
        let _ = store.close().await;
        drop((store, kept));
        (outcome, took)
    }
}

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
