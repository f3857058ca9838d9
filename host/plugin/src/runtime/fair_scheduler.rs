//! Fair scheduling of long computations between plugins.
//!
//! A plugin that computes yields at every tick and then needs a compute slot to continue. There is one slot fewer than the
//! runtime has workers, so that one worker always serves sockets and timers. Waiting plugins get slots round-robin, however
//! many calls each has, so that a plugin with many instances does not crowd out the others.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

static SCHEDULER: LazyLock<FairScheduler> = LazyLock::new(|| {
    let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
    FairScheduler::new(workers.saturating_sub(1).max(1))
});

/// The right to compute, until it is dropped.
pub(super) struct Slot(FairScheduler);

/// Waits for a slot for a call of `plugin`.
pub(super) async fn acquire(plugin: &Arc<str>) -> Slot {
    SCHEDULER.acquire(plugin).await
}

/// Cheap to clone; clones share the slots.
#[derive(Clone)]
struct FairScheduler(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// The plugins with waiting calls, each once, the next one first.
    waiting: VecDeque<WaitingPlugin>,
}

struct WaitingPlugin {
    plugin: Arc<str>,
    calls: VecDeque<oneshot::Sender<Slot>>,
}

impl FairScheduler {
    fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: slots, waiting: VecDeque::new() })))
    }

    async fn acquire(&self, plugin: &Arc<str>) -> Slot {
        let granted = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Slot(self.clone());
            }
            let (grant, granted) = oneshot::channel();
            match state.waiting.iter_mut().find(|waiting| waiting.plugin == *plugin) {
                Some(waiting) => waiting.calls.push_back(grant),
                None => state.waiting.push_back(WaitingPlugin { plugin: Arc::clone(plugin), calls: [grant].into() }),
            }
            granted
        };
        granted.await.expect("the scheduler keeps the sender until it grants a slot")
    }

    /// Passes a released slot to the next waiting call, or marks it as free.
    fn release(&self) {
        let next = {
            let mut state = self.lock();
            // Skip calls that were cancelled.
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
            // If the call was cancelled just now, the slot comes back, is dropped, and goes to the next.
            let _ = call.send(Slot(self.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Slot> + 'a>>;

    fn poll_now(wait: &mut Waiting<'_>) -> Option<Slot> {
        match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => Some(slot),
            Poll::Pending => None,
        }
    }

    #[test]
    fn plugins_get_slots_round_robin_however_many_calls_each_has() {
        let scheduler = FairScheduler::new(1);
        let (many, single): (Arc<str>, Arc<str>) = ("many".into(), "single".into());
        let mut slot = poll_now(&mut (Box::pin(scheduler.acquire(&many)) as Waiting<'_>));
        assert!(slot.is_some());
        let names = ["many", "many", "many", "many", "single", "single"];
        let mut waits: Vec<(&str, Waiting<'_>)> = names
            .into_iter()
            .map(|name| {
                (name, Box::pin(scheduler.acquire(if name == "many" { &many } else { &single })) as Waiting<'_>)
            })
            .collect();
        for (_, wait) in &mut waits {
            assert!(poll_now(wait).is_none());
        }
        let mut order = Vec::new();
        while !waits.is_empty() {
            drop(slot.take());
            let mut granted = waits.iter_mut().enumerate().filter_map(|(at, (_, wait))| Some((at, poll_now(wait)?)));
            let (at, next) = granted.next().expect("one call gets the slot");
            assert!(granted.next().is_none(), "more than one call got the slot");
            drop(granted);
            slot = Some(next);
            order.push(waits.remove(at).0);
        }
        assert_eq!(order, ["many", "single", "many", "single", "many", "many"]);
        drop(slot);
        assert_eq!(scheduler.lock().free, 1);
    }

    #[test]
    fn a_cancelled_call_keeps_no_slot() {
        let scheduler = FairScheduler::new(1);
        let plugin: Arc<str> = "p".into();
        let slot = poll_now(&mut (Box::pin(scheduler.acquire(&plugin)) as Waiting<'_>));
        let mut waits: Vec<Waiting<'_>> = (0..3).map(|_| Box::pin(scheduler.acquire(&plugin)) as Waiting<'_>).collect();
        waits.iter_mut().for_each(|wait| assert!(poll_now(wait).is_none()));
        // One cancelled before its slot was granted, one after.
        drop(waits.remove(0));
        drop(slot);
        drop(waits.remove(0));
        assert!(poll_now(&mut waits[0]).is_some());
        drop(waits);
        assert_eq!(scheduler.lock().free, 1);
    }
}
