//! All end-to-end tests.

mod conformance;
mod hostile;
