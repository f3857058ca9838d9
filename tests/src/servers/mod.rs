//! Servers that tests start for themselves.

mod redis;

pub use redis::RedisServer;
