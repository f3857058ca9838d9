//! Which files of plugins a host loads: those that `plugins.lock` has with their digest, and signed ones where that is
//! required.

mod lock;
mod signature;

pub use lock::{FILE as LOCK_FILE, Lock, Locked};
pub use signature::{PublicKey, SigningKey, read as read_signatures, signature_file, signers, verify};
