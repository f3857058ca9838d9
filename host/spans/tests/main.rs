//! The tests of the crate, in one program.

mod limit;
mod plain;
mod recordings;
