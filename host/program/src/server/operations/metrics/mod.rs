//! The host's figures in the OpenMetrics text format.

mod plugins;
mod store;

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::config::OpenStorage;
use reflow_tracing::maintenance::health::Health;
use reflow_tracing::storage::StorageMetrics;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What every name begins with.
const PREFIX: &str = "reflow_tracing";

pub(super) fn encode(
    storage: &OpenStorage,
    figures: &StorageMetrics,
    health: Option<&Health>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    let build = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("backend", storage.name.clone())];
    registry.register("build", "The host's version and its backend", Info::new(build.to_vec()));
    let healthy = health.map(Health::is_ok);
    registry.register_collector(Box::new(store::Store { figures: figures.clone(), healthy }));
    if let Some(plugin) = &storage.plugin {
        let report = plugin.report();
        let own = plugins::Own { plugin: report.name.clone(), figures: plugin.metrics() };
        registry.register_collector(Box::new(plugins::Plugins(vec![report])));
        registry.register_collector(Box::new(own));
    }
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Buckets that don't contain the smaller ones, which the encoder adds up again, and one for what is over all bounds.
fn each_alone(cumulative: impl Iterator<Item = (f64, u64)>, all: u64) -> Vec<(f64, u64)> {
    let mut below = 0;
    let mut alone: Vec<_> =
        cumulative.map(|(bound, count)| (bound, count - std::mem::replace(&mut below, count))).collect();
    alone.push((f64::INFINITY, all.saturating_sub(below)));
    alone
}
