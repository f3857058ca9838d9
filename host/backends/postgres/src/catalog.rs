//! Keeps statements on `event` from missing partitions that were attached meanwhile.
//!
//! A PostgreSQL session builds a list of a table's partitions when it first needs it, and rebuilds it when it is notified of a
//! change. It loses notifications that arrive while it builds the list; then its statements miss rows in partitions attached
//! meanwhile. A session processes notifications when it locks a table for the first time in a transaction, and the only table
//! that it locks while it builds the list is `pg_class`. So each statement on `event` uses `pg_class` itself, with
//! [`CATALOG_IN_USE`], or runs in a transaction that did, with [`use_catalog`] (see
//! `docs/decisions/0019-what-a-session-knows-of-partitions.md`).

/// A statement for the start of a transaction that returns no rows. See above.
macro_rules! use_catalog {
    () => {
        "SELECT oid FROM pg_class WHERE oid = 0"
    };
}
pub(super) use use_catalog;

/// A condition that is always true. See above.
pub(super) const CATALOG_IN_USE: &str = concat!("(", use_catalog!(), ") IS NULL");
