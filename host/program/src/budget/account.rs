use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::greediest::{Held, PATIENCE};
use super::{Budget, CONNECTION_BYTES, KIB, RESERVED, SMALL};

/// What one connection holds of the budget. Clones are the same.
#[derive(Clone)]
pub struct Account(Arc<Open>);

/// The account is open until the last clone is dropped. Shares may live longer.
struct Open {
    budget: Budget,
    held: Arc<Held>,
    is_ended: watch::Sender<bool>,
    number: u64,
    /// For the connection itself.
    _share: Share,
}

/// The account was ended because it held the most, or the host stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for connections is used up (`max_buffered_mb` in `[server]` of the configuration of the host)")]
pub struct UsedUp;

/// A part of the budget. Dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    held: Arc<Held>,
    /// In [`KIB`].
    general: usize,
    /// In [`KIB`].
    reserved: usize,
    /// How much of it is of the half for what stays, in [`KIB`].
    lasting: usize,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("total", &self.total()).field("held", &self.held()).finish()
    }
}

impl Account {
    pub(super) fn open(budget: &Budget) -> Option<Self> {
        let held = Arc::new(Held::new());
        let share = try_take(budget, &held, CONNECTION_BYTES)?;
        let (is_ended, _) = watch::channel(false);
        let number = budget.accounts().add(held.clone(), is_ended.clone());
        Some(Self(Arc::new(Open { budget: budget.clone(), held, is_ended, number, _share: share })))
    }

    /// Takes so many bytes if they are free now.
    pub fn try_take(&self, bytes: usize) -> Option<Share> {
        try_take(&self.0.budget, &self.0.held, bytes)
    }

    /// Takes so many bytes for what stays as long as the connection may: such shares are at most half of the budget together, so that
    /// they leave room for messages. `None` if that much is taken, or the budget is used up.
    pub fn try_take_of_half(&self, bytes: usize) -> Option<Share> {
        let kib = bytes.div_ceil(KIB);
        let lasting = self.0.budget.0.lasting.try_acquire_many(u32::try_from(kib).ok()?).ok()?;
        let mut share = self.try_take(bytes)?;
        lasting.forget();
        share.lasting = kib;
        Some(share)
    }

    /// Waits until so many bytes are free, and takes them. More than the whole budget are taken for all of it.
    ///
    /// Fails when the account is ended meanwhile, or the host stops.
    pub fn take(&self, bytes: usize) -> impl Future<Output = Result<Share, UsedUp>> + Send + use<> {
        // The account stays open for as long.
        let account = self.clone();
        async move {
            let Open { budget, held, is_ended, .. } = &*account.0;
            let (budget, held, mut is_ended) = (budget.clone(), held.clone(), is_ended.subscribe());
            if let Some(share) = try_take(&budget, &held, bytes) {
                return Ok(share);
            }
            budget.0.waits.inc();
            let kib = bytes.div_ceil(KIB).min(budget.most_at_once() / KIB);
            let acquired = budget.0.general.clone().acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
            tokio::pin!(acquired);
            let since = Instant::now();
            loop {
                tokio::select! {
                    biased;
                    _ = is_ended.wait_for(|is_ended| *is_ended) => return Err(UsedUp),
                    acquired = &mut acquired => {
                        acquired.map_err(|_| UsedUp)?.forget();
                        held.add(kib);
                        return Ok(Share { budget, held, general: kib, reserved: 0, lasting: 0 });
                    }
                    () = tokio::time::sleep(PATIENCE) => budget.end_greediest(since.elapsed()),
                }
            }
        }
    }

    /// Whether the account is ended.
    pub fn is_ended(&self) -> bool {
        *self.0.is_ended.borrow()
    }

    /// Waits until the account is ended because it holds the most.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut is_ended = self.0.is_ended.subscribe();
        async move {
            // The sender lives as long as the account.
            let _ = is_ended.wait_for(|is_ended| *is_ended).await;
        }
    }

    /// The bytes that it holds.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.0.held.kib() * KIB
    }
}

impl Budget {
    /// The most that can be taken at once.
    pub fn most_at_once(&self) -> usize {
        self.total() - self.total() / RESERVED
    }
}

fn try_take(budget: &Budget, held: &Arc<Held>, bytes: usize) -> Option<Share> {
    let kib = bytes.div_ceil(KIB);
    let permits = u32::try_from(kib).ok()?;
    let (general, reserved) = if let Ok(permit) = budget.0.general.try_acquire_many(permits) {
        permit.forget();
        (kib, 0)
    } else {
        if (held.kib() + kib) * KIB > SMALL {
            return None;
        }
        budget.0.reserved.try_acquire_many(permits).ok()?.forget();
        (0, kib)
    };
    held.add(kib);
    Some(Share { budget: budget.clone(), held: held.clone(), general, reserved, lasting: 0 })
}

impl Share {
    /// The bytes of it.
    pub fn bytes(&self) -> usize {
        (self.general + self.reserved) * KIB
    }

    /// Adds another share of the same account.
    pub fn merge(&mut self, mut other: Self) {
        self.general += std::mem::take(&mut other.general);
        self.reserved += std::mem::take(&mut other.reserved);
        self.lasting += std::mem::take(&mut other.lasting);
    }

    /// Gives back what is over so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let over = (self.general + self.reserved).saturating_sub(bytes.div_ceil(KIB));
        let of_general = over.min(self.general);
        self.give_back(of_general, over - of_general);
    }

    fn give_back(&mut self, general: usize, reserved: usize) {
        if general + reserved == 0 {
            return;
        }
        self.general -= general;
        self.reserved -= reserved;
        self.held.remove(general + reserved);
        self.budget.0.general.add_permits(general);
        self.budget.0.reserved.add_permits(reserved);
        let lasting = self.lasting.min(general + reserved);
        self.lasting -= lasting;
        self.budget.0.lasting.add_permits(lasting);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.general, self.reserved);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.budget.accounts().remove(self.number);
    }
}
