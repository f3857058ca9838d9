//! Test cases, and how they report failures.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;

use super::Receiver;
use reflow_tracing_storage::{StorageBackend, StorageError};

/// The backend under test, shared so that a case can use it from several tasks.
pub type Store = Arc<dyn StorageBackend>;

/// The result of a case.
pub type Outcome = Result<(), Failure>;

/// An optional ability of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ability {
    /// [`StorageBackend::delete`].
    Deletion,
}

/// When a case applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    With(Ability),
    Without(Ability),
}

type Checking = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How a case is run.
#[derive(Clone, Copy)]
pub(super) enum Check {
    Store(fn(Store) -> Checking),
    /// Tells the receiver of a forwarder how to answer.
    Forwarder(fn(Store, Receiver) -> Checking),
}

/// A check of one sentence of the contract, on an empty store.
pub struct Case {
    /// Topic and name, such as `deletion::a_deleted_trace_is_gone_from_every_read`.
    pub name: &'static str,
    /// The sentence of the contract.
    pub contract: &'static str,
    pub(super) needs: Needs,
    pub(super) check: Check,
}

impl Case {
    /// Checks `store`, which must be empty. A case of [`Suite::of_forwarder`](crate::Suite::of_forwarder) may need its receiver
    /// too, and fails without.
    pub fn run(&self, store: Store) -> impl Future<Output = Outcome> + Send + 'static {
        self.run_with(store, None)
    }

    pub(super) fn run_with(&self, store: Store, receiver: Option<Receiver>) -> Checking {
        match (self.check, receiver) {
            (Check::Store(check), _) => check(store),
            (Check::Forwarder(check), Some(receiver)) => check(store, receiver),
            (Check::Forwarder(_), None) => Box::pin(async { Err(Failure::new("the case needs a receiver")) }),
        }
    }

    pub(super) fn applies(&self, absent: &[Ability]) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::With(ability) => !absent.contains(&ability),
            Needs::Without(ability) => absent.contains(&ability),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("contract", &self.contract).finish_non_exhaustive()
    }
}

/// Why a case failed: expected, found, and the line of the check.
#[derive(Debug, Clone)]
pub struct Failure(String);

impl Failure {
    /// A failure with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    #[track_caller]
    pub(super) fn here(reason: impl fmt::Display) -> Self {
        let place = Location::caller();
        // The path of the suite on the build machine means nothing to a reader elsewhere.
        let file = place.file().rsplit(['/', '\\']).next().unwrap_or_default();
        Self(format!("{reason} ({file}:{})", place.line()))
    }

    pub(super) fn of_task(error: tokio::task::JoinError) -> Self {
        match error.try_into_panic() {
            Ok(payload) => {
                let message = payload
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| payload.downcast_ref::<&str>().copied())
                    .unwrap_or("without a message");
                Self(format!("a panic: {message}"))
            }
            Err(error) => Self(format!("the task of the case ended: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// An error that the contract doesn't allow.
impl From<StorageError> for Failure {
    #[track_caller]
    fn from(error: StorageError) -> Self {
        Self::here(format_args!("unexpected error: {error}"))
    }
}

/// Fails the case, with a message, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Failure::here(format_args!($($message)+)));
        }
    };
}

/// Declares the cases of a topic: function, `[needs]` if any, and the sentence of the contract.
macro_rules! cases {
    ($topic:literal with a receiver: $($function:ident => $contract:literal,)+) => {
        pub(super) const CASES: &[$crate::Case] = &[$($crate::Case {
            name: concat!($topic, "::", stringify!($function)),
            contract: $contract,
            needs: $crate::case::Needs::Nothing,
            check: $crate::case::Check::Forwarder(|store, receiver| {
                Box::pin(async move { $function(&store, &receiver).await })
            }),
        }),+];
    };
    ($topic:literal: $($function:ident $([$($needs:tt)+])? => $contract:literal,)+) => {
        pub(super) const CASES: &[$crate::Case] = &[$($crate::Case {
            name: concat!($topic, "::", stringify!($function)),
            contract: $contract,
            needs: $crate::case::cases!(@needs $($($needs)+)?),
            check: $crate::case::Check::Store(|store| Box::pin(async move { $function(&store).await })),
        }),+];
    };
    (@needs) => { $crate::case::Needs::Nothing };
    (@needs $ability:ident) => {
        $crate::case::Needs::With($crate::Ability::$ability)
    };
    (@needs no $ability:ident) => {
        $crate::case::Needs::Without($crate::Ability::$ability)
    };
}

pub(super) use {cases, ensure};
