//! Measuring: a path and its floor in turns, and the medians.

use std::time::Instant;

use anyhow::Result;

/// Turns of a floor and a path. Which of the two comes first alternates: whatever one leaves behind, in caches or for
/// the disk to write, is to burden both alike.
pub struct Rounds {
    wanted: usize,
    begun: usize,
    /// What a unit of work cost, a round.
    floor: Vec<f64>,
    path: Vec<f64>,
}

impl Rounds {
    /// So many rounds, and one before them that does not count: it opens files, prepares statements, fills caches.
    pub fn new(wanted: usize) -> Self {
        Self { wanted, begun: 0, floor: Vec::new(), path: Vec::new() }
    }

    /// Whether there is another round to be done.
    pub fn more(&self) -> bool {
        self.begun <= self.wanted
    }

    /// Does a round. Both give what a unit of their work cost.
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

    /// What a unit of the floor's work costs.
    pub fn floor(&self) -> f64 {
        median(self.floor.clone())
    }

    /// What a unit of the path's work costs.
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

/// The middle one; of an even number the upper of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
