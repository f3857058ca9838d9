//! The cases by topic. Expected results are literal, not computed by the oracle, which shares its conditions with some
//! backends.

mod actors;
mod arguments;
mod batches;
mod closing;
mod counting;
mod deletion;
mod empty;
mod fidelity;
mod forwarding;
mod generated;
mod leases;
mod order;
mod paging;
mod pairs;
mod predicates;
mod replacing;
mod sample;
mod shapes;
mod streaming;
mod writes;

use super::Case;

/// Every case, topic by topic.
pub(super) const OF_STORE: &[&[Case]] = &[
    empty::CASES,
    fidelity::CASES,
    shapes::CASES,
    writes::CASES,
    replacing::CASES,
    batches::CASES,
    predicates::CASES,
    pairs::CASES,
    actors::CASES,
    order::CASES,
    paging::CASES,
    streaming::CASES,
    counting::CASES,
    deletion::CASES,
    leases::CASES,
    arguments::CASES,
    generated::CASES,
    closing::CASES,
];

/// Those for a forwarder: about what is written, and about its receiver.
pub(super) const OF_FORWARDER: &[&[Case]] =
    &[fidelity::CASES, shapes::CASES, writes::CASES, replacing::CASES, batches::CASES, forwarding::CASES];
