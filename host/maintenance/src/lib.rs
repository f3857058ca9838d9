//! What is done for a store beside its calls: its health is watched, what has expired is deleted.

pub mod health;
pub mod retention;
