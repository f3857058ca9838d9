//! The metrics of the backends that get every write besides the store.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use reflow_tracing::storage::AlsoMetrics;

#[derive(Debug)]
pub struct Also(pub Vec<AlsoMetrics>);

/// The values of one metric, each with the value of the label `kind`; an empty one means none.
type Labelled = Vec<(&'static str, u64)>;

impl Collector for Also {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut gauge = |name, help, of: fn(&AlsoMetrics) -> Labelled| {
            self.each(&mut encoder, name, help, of, ConstGauge::<u64>::new)
        };
        gauge("also_queued", "What waits for a backend of `also`, by kind", |also| {
            vec![("event", also.queue.pending_events), ("header", also.queue.pending_traces)]
        })?;
        gauge("also_bytes", "Size of the queue of a backend of `also`", |also| one(also.queue.bytes))?;
        gauge("also_max_bytes", "Maximum size of that queue", |also| one(also.queue.max_bytes))?;
        gauge("also_refused", "Writes that a backend of `also` rejected", |also| one(also.queue.refused))?;
        gauge("also_away", "1 while a backend of `also` is unavailable", |also| {
            one(also.queue.away_since.is_some().into())
        })?;
        let mut counter = |name, help, of: fn(&AlsoMetrics) -> Labelled| {
            self.each(&mut encoder, name, help, of, ConstCounter::<u64>::new)
        };
        counter("also_delivered", "What a backend of `also` stored, by kind, repetitions included", |also| {
            vec![("event", also.delivered_events), ("header", also.delivered_traces)]
        })?;
        counter("also_failed", "Deliveries to a backend of `also` that failed and are tried again", |also| {
            one(also.failed_deliveries)
        })?;
        counter("also_dropped", "What a backend of `also` does not get because its queue was full, by kind", |also| {
            vec![("event", also.dropped_events), ("header", also.dropped_traces)]
        })
    }
}

fn one(value: u64) -> Labelled {
    vec![("", value)]
}

impl Also {
    fn each<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        of: fn(&AlsoMetrics) -> Labelled,
        metric: fn(u64) -> M,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, metric(0).metric_type())?;
        for also in &self.0 {
            for (kind, number) in of(also) {
                let mut labels = vec![("backend", also.backend.as_str())];
                labels.extend((!kind.is_empty()).then_some(("kind", kind)));
                metric(number).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
