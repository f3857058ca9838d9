//! The receiver of a forwarder, as far as the cases control it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a receiver answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// It keeps what arrived, and says so.
    #[default]
    Accept,
    /// It keeps nothing and answers with this status of HTTP.
    Refuse(u16),
    /// It keeps nothing and does not answer.
    Silence,
}

/// Says how the receiver of a forwarder answers. What takes the requests asks for the
/// [`next_answer`](Self::next_answer) for each. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Receiver(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    first: VecDeque<Answer>,
    then: Answer,
    requests: usize,
}

impl Receiver {
    /// The answer to the request that arrived now.
    pub fn next_answer(&self) -> Answer {
        let mut state = self.state();
        state.requests += 1;
        state.first.pop_front().unwrap_or(state.then)
    }

    /// From now on it answers with `first`, one after another, and after them with `then`.
    pub(super) fn answer(&self, first: impl IntoIterator<Item = Answer>, then: Answer) {
        *self.state() = State { first: first.into_iter().collect(), then, requests: 0 };
    }

    /// The number of requests since the last [`answer`](Self::answer).
    pub(super) fn requests(&self) -> usize {
        self.state().requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
