//! Turns among calls that compute for long, by plugin.
//!
//! A plugin that computes gives way at every tick. Without turns, as many such calls as the runtime has workers would leave
//! it none to look after sockets and timers; so one worker is always left to the others. And without turns by plugin, one
//! with many instances would have the processor almost for itself; so plugins take turns, however many calls each has.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// One turn fewer than there are workers.
static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
    Turns::new(workers.saturating_sub(1).max(1))
});

/// The right to compute, until it is dropped.
pub(super) struct Turn(Turns);

/// Waits for the plugin's turn.
pub(super) async fn wait(plugin: &Arc<str>) -> Turn {
    TURNS.wait(plugin).await
}

/// Turns, and who waits for one. Cheap to clone; clones are the same.
#[derive(Clone)]
struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// The plugins that wait, the next one first. None is here twice.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    plugin: Arc<str>,
    calls: VecDeque<oneshot::Sender<Turn>>,
}

impl Turns {
    fn new(turns: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: turns, waiting: VecDeque::new() })))
    }

    async fn wait(&self, plugin: &Arc<str>) -> Turn {
        let granted = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn(self.clone());
            }
            let (grant, granted) = oneshot::channel();
            match state.waiting.iter_mut().find(|waiting| waiting.plugin == *plugin) {
                Some(waiting) => waiting.calls.push_back(grant),
                None => state.waiting.push_back(Waiting { plugin: Arc::clone(plugin), calls: [grant].into() }),
            }
            granted
        };
        granted.await.expect("whoever waits is granted a turn: none is lost, and the turns outlive those who wait")
    }

    /// Passes a turn on, or keeps it for whoever comes.
    fn pass_on(&self) {
        let next = {
            let mut state = self.lock();
            // Of a call that was given up nobody is left to take it.
            state.waiting.iter_mut().for_each(|waiting| waiting.calls.retain(|call| !call.is_closed()));
            state.waiting.retain(|waiting| !waiting.calls.is_empty());
            let Some(mut plugin) = state.waiting.pop_front() else {
                state.free += 1;
                return;
            };
            let next = plugin.calls.pop_front();
            if !plugin.calls.is_empty() {
                state.waiting.push_back(plugin);
            }
            next
        };
        if let Some(call) = next {
            // Given up just now, it is dropped, and so passed on.
            let _ = call.send(Turn(self.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waits<'a> = Pin<Box<dyn Future<Output = Turn> + 'a>>;

    fn now(wait: &mut Waits<'_>) -> Option<Turn> {
        match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn plugins_take_turns_however_many_calls_each_has() {
        let turns = Turns::new(1);
        let (many, single): (Arc<str>, Arc<str>) = ("many".into(), "single".into());
        let mut turn = now(&mut (Box::pin(turns.wait(&many)) as Waits<'_>));
        assert!(turn.is_some());
        let names = ["many", "many", "many", "many", "single", "single"];
        let mut waits: Vec<(&str, Waits<'_>)> = names
            .into_iter()
            .map(|name| (name, Box::pin(turns.wait(if name == "many" { &many } else { &single })) as Waits<'_>))
            .collect();
        for (_, wait) in &mut waits {
            assert!(now(wait).is_none());
        }
        let mut order = Vec::new();
        while !waits.is_empty() {
            drop(turn.take());
            let mut granted = waits.iter_mut().enumerate().filter_map(|(at, (_, wait))| Some((at, now(wait)?)));
            let (at, next) = granted.next().expect("one of them has its turn");
            assert!(granted.next().is_none(), "and no other");
            drop(granted);
            turn = Some(next);
            order.push(waits.remove(at).0);
        }
        assert_eq!(order, ["many", "single", "many", "single", "many", "many"]);
        drop(turn);
        assert_eq!(turns.lock().free, 1);
    }

    #[test]
    fn a_call_that_was_given_up_keeps_no_turn() {
        let turns = Turns::new(1);
        let plugin: Arc<str> = "p".into();
        let turn = now(&mut (Box::pin(turns.wait(&plugin)) as Waits<'_>));
        let mut waits: Vec<Waits<'_>> = (0..3).map(|_| Box::pin(turns.wait(&plugin)) as Waits<'_>).collect();
        waits.iter_mut().for_each(|wait| assert!(now(wait).is_none()));
        // One before it was granted a turn, one after.
        drop(waits.remove(0));
        drop(turn);
        drop(waits.remove(0));
        assert!(now(&mut waits[0]).is_some());
        drop(waits);
        assert_eq!(turns.lock().free, 1);
    }
}
