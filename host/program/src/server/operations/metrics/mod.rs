//! The host's metrics in the OpenMetrics text format.

mod also;
mod histogram;
mod plugins;
mod store;

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::config::OpenStorage;
use crate::server::traffic::Traffic;
use reflow_tracing::maintenance::health::Health;
use reflow_tracing::storage::StorageMetrics;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of every name.
const PREFIX: &str = "reflow_tracing";

pub(super) fn encode(
    storage: &OpenStorage,
    figures: &StorageMetrics,
    health: Option<&Health>,
    traffic: &Traffic,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    let build = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("backend", storage.name.clone())];
    registry.register("build", "The host's version and its backend", Info::new(build.to_vec()));
    traffic.register(&mut registry);
    let healthy = health.map(Health::is_ok);
    registry.register_collector(Box::new(store::Store { figures: figures.clone(), healthy }));
    registry.register_collector(Box::new(also::Also(figures.also.clone())));
    let plugins = storage.plugins();
    if !plugins.is_empty() {
        let reports = plugins.iter().map(|plugin| plugin.report()).collect();
        let own = plugins.iter().map(|plugin| (plugin.report().name, plugin.metrics())).collect();
        registry.register_collector(Box::new(plugins::Plugins(reports)));
        registry.register_collector(Box::new(plugins::Own(own)));
    }
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}
