//! The program as a user runs it.

mod command_line;
mod compressed_messages;
mod untrusted_peers;
