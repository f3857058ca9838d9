//! The metrics of plugins.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::histogram;
use reflow_tracing::plugin::{Metric as PluginMetric, PluginCalls, PluginErrors, PluginReport};

/// The active plugins.
#[derive(Debug)]
pub struct Plugins(pub Vec<PluginReport>);

/// The values of one metric of a plugin, each with the value of the metric's own label.
type Labelled = Vec<(&'static str, u64)>;

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.durations(&mut encoder)?;
        let mut counter = |name, help, label, of: fn(&PluginReport) -> Labelled| {
            self.each(&mut encoder, name, help, label, of, ConstCounter::<u64>::new)
        };
        counter("plugin_errors", "Calls that failed, by kind of failure", Some("kind"), |plugin| {
            let PluginErrors { trapped, timed_out, busy, refused, paused } = plugin.errors;
            vec![
                ("trapped", trapped),
                ("timed_out", timed_out),
                ("busy", busy),
                ("refused", refused),
                ("paused", paused),
            ]
        })?;
        counter("plugin_retries", "Calls that were retried", None, |plugin| one(plugin.retries))?;
        let help = "Instances that were discarded because they trapped or timed out";
        counter("plugin_restarts", help, None, |plugin| one(plugin.restarts))?;
        let help = "Instances that were recycled because their memory had grown";
        counter("plugin_recycled", help, None, |plugin| one(plugin.instances_recycled))?;
        counter("plugin_reloads", "Reloads of the plugin's file, by result", Some("result"), |plugin| {
            vec![("ok", plugin.reloads), ("failed", plugin.failed_reloads)]
        })?;

        let mut gauge = |name, help, label, of: fn(&PluginReport) -> Labelled| {
            self.each(&mut encoder, name, help, label, of, ConstGauge::<u64>::new)
        };
        gauge("plugin_instances", "Instances, by state", Some("state"), |plugin| {
            vec![("busy", plugin.instances_busy as u64), ("idle", plugin.instances_idle as u64)]
        })?;
        gauge("plugin_memory_bytes", "Linear memory of all instances", None, |plugin| one(plugin.memory_bytes as u64))?;
        let help = "1 while the host calls the plugin, 0 while calls are paused after failures";
        gauge("plugin_called", help, None, |plugin| one(plugin.called.into()))?;
        let help = "1 if the compiled code of the active version came from the cache";
        gauge("plugin_compiled_code_cached", help, None, |plugin| one(plugin.compiled_code_from_cache.into()))
    }
}

/// The value of a metric without a label of its own.
fn one(value: u64) -> Labelled {
    vec![("", value)]
}

/// The metrics that each plugin reports itself, by its name.
#[derive(Debug)]
pub struct Own(pub Vec<(String, Vec<(String, PluginMetric)>)>);

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (plugin, figures) in &self.0 {
            for (name, figure) in figures {
                by_name.entry(name).or_default().push((plugin.as_str(), figure));
            }
        }
        for (name, figures) in by_name {
            // The prefix keeps them apart from the host's metrics of the plugin.
            let name = format!("plugin_custom_{name}");
            let kind = self::kind(figures[0].1);
            let mut family = encoder.encode_descriptor(&name, "Reported by the plugin", None, kind)?;
            // A name has one type: that of the first plugin.
            for (plugin, figure) in figures.iter().filter(|(_, figure)| self::kind(figure).as_str() == kind.as_str()) {
                let labels = [("plugin", *plugin)];
                let mut metric = family.encode_family(&labels)?;
                match figure {
                    PluginMetric::Counter(count) => metric.encode_counter::<NoLabelSet, _, f64>(count, None)?,
                    PluginMetric::Gauge(value) => metric.encode_gauge(value)?,
                    PluginMetric::Histogram(observed) => {
                        histogram::encode(metric, observed.sum, observed.count, observed.buckets())?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn kind(figure: &PluginMetric) -> MetricType {
    match figure {
        PluginMetric::Counter(_) => MetricType::Counter,
        PluginMetric::Gauge(_) => MetricType::Gauge,
        PluginMetric::Histogram(_) => MetricType::Histogram,
    }
}

fn encode_calls(encoder: MetricEncoder<'_>, calls: &PluginCalls) -> fmt::Result {
    let buckets = calls.buckets.iter().map(|bucket| (bucket.le, bucket.count));
    histogram::encode(encoder, calls.sum, calls.calls, buckets)
}

impl Plugins {
    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Duration of calls, by function of the contract";
        let mut family =
            encoder.encode_descriptor("plugin_call_duration_seconds", help, None, MetricType::Histogram)?;
        for plugin in &self.0 {
            for (function, calls) in &plugin.functions {
                let labels = [("plugin", plugin.name.as_str()), ("function", function.as_str())];
                encode_calls(family.encode_family(&labels)?, calls)?;
            }
        }
        let help = "Duration of the steps of starting an instance: make and open";
        let mut family =
            encoder.encode_descriptor("plugin_instance_start_seconds", help, None, MetricType::Histogram)?;
        for plugin in &self.0 {
            for (step, calls) in [("make", &plugin.making), ("open", &plugin.opening)] {
                let labels = [("plugin", plugin.name.as_str()), ("step", step)];
                encode_calls(family.encode_family(&labels)?, calls)?;
            }
        }
        Ok(())
    }

    fn each<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        label: Option<&'static str>,
        of: fn(&PluginReport) -> Labelled,
        metric: fn(u64) -> M,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, metric(0).metric_type())?;
        for plugin in &self.0 {
            for (value, number) in of(plugin) {
                let mut labels = vec![("plugin", plugin.name.as_str())];
                labels.extend(label.map(|label| (label, value)));
                metric(number).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;
    use reflow_tracing::plugin::LatencyBucket;

    #[test]
    fn a_report_becomes_metrics_that_prometheus_reads() {
        let buckets = vec![LatencyBucket { le: 0.001, count: 2 }, LatencyBucket { le: 0.01, count: 5 }];
        let calls = PluginCalls { calls: 6, sum: 1.5, buckets, ..PluginCalls::default() };
        let report = PluginReport {
            name: "my \"plugin\"".into(),
            called: true,
            functions: [("store-events".to_owned(), calls)].into(),
            errors: PluginErrors { trapped: 3, ..PluginErrors::default() },
            memory_bytes: 65_536,
            ..PluginReport::default()
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Plugins(vec![report])));
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"plugin_call_duration_seconds_bucket{le="0.001",plugin="my \"plugin\"",function="store-events"} 2"#,
            r#"plugin_call_duration_seconds_bucket{le="0.01",plugin="my \"plugin\"",function="store-events"} 5"#,
            r#"plugin_call_duration_seconds_bucket{le="+Inf",plugin="my \"plugin\"",function="store-events"} 6"#,
            r#"plugin_call_duration_seconds_count{plugin="my \"plugin\"",function="store-events"} 6"#,
            r#"plugin_errors_total{plugin="my \"plugin\"",kind="trapped"} 3"#,
            r#"plugin_memory_bytes{plugin="my \"plugin\""} 65536"#,
            r#"plugin_called{plugin="my \"plugin\""} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }
}
