//! The floor of the host's paths: a server of the same libraries that does nothing beyond storing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// `src/bin/bare_server.rs`, running. Killed when it is dropped.
pub struct BareServer {
    process: Child,
    pub url: String,
}

impl BareServer {
    pub fn start(file: &Path) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bare_server"));
        let mut process = command.arg(file).stdout(Stdio::piped()).spawn().context("cannot start the bare server")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening on ").context("the bare server does not listen")?.to_owned();
        Ok(Self { process, url })
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
