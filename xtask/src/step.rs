//! A step of a command: named, timed, and named again when it fails.

use std::time::Instant;

use anyhow::{Context, Result};

/// Does the work, and prints how long it took.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = work().with_context(|| format!("the step `{name}` failed"))?;
    println!("{name}: {} s", start.elapsed().as_secs());
    Ok(outcome)
}
