//! The tests of the templates for new plugins.

#[allow(dead_code, reason = "a plugin uses all of it")]
#[path = "../template/header.rs"]
mod header;
