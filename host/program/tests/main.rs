//! The program as a user runs it.

mod command_line;
mod compressed_messages;
#[cfg(target_os = "linux")]
mod memory_limits;
mod untrusted_peers;
