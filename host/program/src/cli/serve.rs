use anyhow::Context;
use tokio::net::TcpListener;

use super::config_file::ConfigFile;
use super::output;
use crate::config::open_host_storage;
use crate::config::plugin_file;
use crate::server::{self, Access, Maintenance};

/// Receive traces over Reflow's WebSocket protocol and store them, until SIGINT or SIGTERM
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let address = config.server.address();
    let listener = TcpListener::bind(&address).await.with_context(|| {
        format!("can't listen on {address}; set another `host` or `port` in `[server]` of the configuration")
    })?;
    let storage = open_host_storage(&config).await?;
    tracing::info!(backend = storage.name, "opened the store");
    if let Some(plugin) = &storage.plugin
        && config.plugins.reload
    {
        plugin.reload_on_change(&plugin_file(&storage.name, &config)?);
    }

    let shutdown = Signals::install()?;
    let url = format!("ws://{}", listener.local_addr().context("the listener has no address")?);
    output::print(|out| writeln!(out, "listening on {url}"))?;
    let (access, maintenance) = (Access::new(&config.server), Maintenance::new(&config.storage));
    server::serve(listener, storage, access, maintenance, shutdown.received()).await?;
    tracing::info!("shut down: every event is stored, the store is closed");
    Ok(())
}

/// The signals that ask the process to end.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Replaces the default action of the signals, which ends the process at once.
    fn install() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("can't wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("can't wait for SIGTERM")?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Ctrl-C, on systems without signals.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn install() -> anyhow::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            // Only the system can end the process then.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Signals {
    /// Waits for the first signal. A second one ends the process at once.
    async fn received(mut self) {
        let signal = self.next().await;
        tracing::info!("{signal}: shutting down; repeat it to end at once");
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(1);
        });
    }
}
