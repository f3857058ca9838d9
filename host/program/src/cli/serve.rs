use anyhow::Context;
use tokio::net::TcpListener;

use super::config_file::ConfigFile;
use super::{log, output};
use crate::config::open_host_storage;
use crate::config::plugin_file;
use crate::server::{self, Listeners, Settings};

/// Receive traces over Reflow's WebSocket protocol and store them, until SIGINT or SIGTERM
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config.load_for_host()?;
    let address = config.server.address();
    let main = TcpListener::bind(&address).await.with_context(|| {
        format!("can't listen on {address}; set another `host` or `port` in `[server]` of the configuration")
    })?;
    let operations = match config.metrics.port.filter(|_| config.metrics.enabled) {
        Some(port) => Some(operations_listener(&config.server.address_with(port)).await?),
        None => None,
    };
    // The first process of a container would ignore them otherwise, while a database keeps it waiting.
    let mut signals = Signals::install()?;
    let storage = tokio::select! {
        storage = open_host_storage(&config) => storage?,
        signal = signals.next() => {
            tracing::info!("{signal}: ending before the store is open");
            log::finish();
            std::process::exit(0);
        }
    };
    tracing::info!(backend = storage.name, "opened the store");
    if let Some(plugin) = &storage.plugin
        && config.plugins.reload
    {
        plugin.reload_on_change(&plugin_file(&storage.name, &config)?);
    }

    let url = format!("ws://{}", main.local_addr().context("the listener has no address")?);
    if let Err(error) = output::print(|out| writeln!(out, "listening on {url}")) {
        tracing::warn!("the address {url} can't be printed: {error}");
    }
    let listeners = Listeners { main, operations };
    server::serve(listeners, storage, Settings::new(&config), signals.received()).await?;
    tracing::info!("shut down: every event is stored, the store is closed");
    Ok(())
}

/// The listener for metrics and health only.
async fn operations_listener(address: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "can't listen on {address} for metrics; set another `port` in `[metrics]` of the configuration, or none"
        )
    })?;
    let address = listener.local_addr().context("the listener for metrics has no address")?;
    tracing::info!("metrics and health are also on http://{address}");
    Ok(listener)
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
