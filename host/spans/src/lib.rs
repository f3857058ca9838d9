//! What the actors of a trace did, derived from its events. Nothing here stores anything.
//!
//! Reflow sends no durations. An *activation* of an actor is one message and what the actor did with it: it begins with the
//! `DataFlow` that reached the actor, and ends with the actor's next `ActorCompleted` or `ActorFailed`, first in, first out.
//! An end whose causality names the message ends that one instead. Where the end says how long the actor executed, the
//! activation executed for that time before its end, and waited since its message. A message without an end is an open
//! activation. An end without a message is an activation without one: of a source, or of a window that begins later.
//!
//! A message was *produced* by the activation that its causality names; else by the latest activation of the sender that had
//! ended, since Reflow routes the outputs of an actor after it has completed; else by the first that was open.
//!
//! [`Spans`] takes events in any order, also repeatedly, and can be asked for a [`Report`] at any time: those of a whole trace, of
//! one that goes on, or of a window into one.

mod causes;
mod lane;
mod name;
mod quantiles;
mod report;
mod spans;
mod statistics;

pub use name::Name;
pub use quantiles::Quantiles;
pub use report::{Activation, Actor, Edge, Failure, FailureGroup, Message, Report, Traffic};
pub use spans::Spans;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
