//! Group commit: writes that arrive while others are stored share the next batch.
//!
//! A commit costs far more than a row, so a store wants batches. This queue builds them without a timer: an idle store commits a
//! single write immediately, and a busy store gets batches as large as its load needs. The host's ingest, the writers of the
//! backends and the spool use it.
//!
//! # Guarantees
//! - **Limits.** Rows and bytes are limited, per batch ([`Limits::batch`]) and for all waiting and in-flight writes together
//!   ([`Limits::total`]). Senders beyond the limit wait in the order of arrival; no write is dropped.
//! - **Batches in flight.** At most [`Limits::at_once`]. Only one of them is smaller than [`Limits::full`], because two small
//!   batches would each be half as large and take as long.
//! - **Fairness.** Writes wait in [`Lane`]s, which take turns. A lane with many writes fills the batches, but doesn't make the
//!   others wait longer than one batch.
//! - **Order.** The writes of a lane keep their order. A write whose traces ([`Entry::traces`]) are in flight waits for that
//!   batch, so two batches in flight never contain the same trace.
//! - **Answers.** Each write is answered, even if its batch is dropped because of a panic.
//!
//! # Use
//! [`WriteQueue::new`] returns both ends. Workers, which are tasks or threads, call [`Batches::next`], store the batch, and
//! [answer](Answers::send). [`Split`] finds the invalid writes of a rejected batch.

mod batches;
mod entry;
mod queue;
mod split;
mod state;
#[cfg(test)]
mod tests;
mod workers;

pub use batches::{Answers, Batch, Batches};
pub use entry::{Entry, Limits, Size};
pub use queue::{Lane, Ticket, WriteQueue};
pub use split::Split;
pub use workers::Workers;
