//! All end-to-end tests.

#[cfg(unix)]
mod also;
mod asking_a_host;
mod author;
mod capabilities;
#[cfg(unix)]
mod clickhouse;
mod client;
mod component_files;
mod conformance;
mod contract_additions;
mod crash;
#[cfg(unix)]
mod deployment;
#[cfg(unix)]
mod doctor;
mod explain;
#[cfg(target_os = "linux")]
mod full_disk;
mod golden;
mod hostile;
mod http;
mod keyvalue;
mod large_answers;
mod life_cycle;
mod log_that_cannot_be_written;
#[cfg(unix)]
mod migration;
mod mistakes;
mod older_file;
#[cfg(unix)]
mod postgres;
mod probe;
#[cfg(unix)]
mod reading;
mod recording;
mod redis;
mod redis_capability;
#[cfg(unix)]
mod registry;
mod relational_layout;
mod repeated_crash;
#[cfg(unix)]
mod shared_traces;
mod spans;
#[cfg(unix)]
mod spool;
mod sql;
mod sqlite_crash;
#[cfg(unix)]
mod tail;
mod terminal;
#[cfg(unix)]
mod tls;
mod two_hosts;
mod wire;
