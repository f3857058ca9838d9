//! Measures a path and its floor alternately, and computes medians.

use std::time::Instant;

use anyhow::Result;

/// Rounds of a floor and a path. The first of the two alternates, so that what one leaves behind, in caches or for
/// the disk to write, affects both equally.
pub struct Rounds {
    wanted: usize,
    begun: usize,
    /// The cost of a unit of work, per round.
    floor: Vec<f64>,
    path: Vec<f64>,
}

impl Rounds {
    /// This many rounds, after one that is not counted: it opens files, prepares statements and fills caches.
    pub fn new(wanted: usize) -> Self {
        Self { wanted, begun: 0, floor: Vec::new(), path: Vec::new() }
    }

    /// Whether another round remains.
    pub fn more(&self) -> bool {
        self.begun <= self.wanted
    }

    /// Runs a round. Both return the cost of a unit of their work.
    pub async fn round(
        &mut self,
        floor: impl AsyncFnOnce() -> Result<f64>,
        path: impl AsyncFnOnce() -> Result<f64>,
    ) -> Result<()> {
        let (floor, path) = if self.begun.is_multiple_of(2) {
            let floor = floor().await?;
            (floor, path().await?)
        } else {
            let path = path().await?;
            (floor().await?, path)
        };
        if self.begun > 0 {
            self.floor.push(floor);
            self.path.push(path);
        }
        self.begun += 1;
        Ok(())
    }

    /// The median cost of a unit of the floor's work.
    pub fn floor(&self) -> f64 {
        median(self.floor.clone())
    }

    /// The median cost of a unit of the path's work.
    pub fn path(&self) -> f64 {
        median(self.path.clone())
    }

    /// The path's cost over the floor's of the same round, for each round, ascending.
    pub fn costs(&self) -> Vec<f64> {
        let mut costs: Vec<_> = self.path.iter().zip(&self.floor).map(|(path, floor)| path / floor).collect();
        costs.sort_by(f64::total_cmp);
        costs
    }
}

/// The seconds that each of `units` took since `start`.
pub fn seconds_each(start: Instant, units: usize) -> f64 {
    start.elapsed().as_secs_f64() / units as f64
}

/// The median; for an even count, the upper of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
