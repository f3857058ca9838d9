//! The contract of `wit/` on the host's side: its types and functions, batches of events, bodies, and the model in its words.

pub(super) mod batch;
pub(super) mod bindings;
pub(super) mod body;
pub(super) mod convert;
pub(super) mod function;
