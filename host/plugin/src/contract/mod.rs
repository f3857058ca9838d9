//! The host's side of the contract in `wit/`: bindings, conversions of the model, batches of events, and bodies.

pub(super) mod batch;
pub(super) mod bindings;
pub(super) mod body;
pub(super) mod budget;
pub(super) mod convert;
pub(super) mod field;
pub(super) mod flows;
pub(super) mod function;
pub(super) mod pages;
pub(super) mod part;
