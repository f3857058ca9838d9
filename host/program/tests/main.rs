//! The program as a user runs it.

mod command_line;
mod untrusted_peers;
