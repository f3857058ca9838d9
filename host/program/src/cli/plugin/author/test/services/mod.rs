//! What the cases of a plugin talk to, without a grant of its author: started by this command, and gone when it ends.

mod content;
mod receiver;
mod redis;

pub(super) use receiver::HttpReceiver;
pub(super) use redis::RedisServer;
