use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FlowTrace, More, TraceEvent};

/// What a header or an event has beyond the fields of the first version of the model. Binary formats and tables that hold
/// those fields keep this beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Additions {
    /// The metrics that were not measured, one bit each: 1 for `execution_time_ns`, 2 for `memory_usage_bytes`, 4 for
    /// `cpu_usage_percent`, 8 for `queue_depth`, 16 for `throughput_msgs_per_sec`. Their fields hold 0.
    pub unmeasured: u8,
    /// The `more` of each part that has some, by the name of the part, as JSON.
    pub more: Option<String>,
}

/// `Additions::unmeasured` when nothing was measured.
const NOTHING_MEASURED: u8 = 31;

impl Additions {
    fn new<'a>(unmeasured: u8, parts: impl IntoIterator<Item = (&'static str, &'a More)>) -> Self {
        let parts: BTreeMap<_, _> = parts.into_iter().filter(|(_, more)| !more.is_empty()).collect();
        let json = || serde_json::to_string(&parts).expect("maps with text keys can be written");
        Self { unmeasured, more: (!parts.is_empty()).then(json) }
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.unmeasured == 0 && self.more.is_none()
    }

    fn parts(&self) -> Result<BTreeMap<String, More>, String> {
        let Some(json) = &self.more else { return Ok(BTreeMap::new()) };
        serde_json::from_str(json).map_err(|error| format!("the additional fields are damaged: {error}"))
    }
}

/// Moves what was read for each part to where it belongs.
fn restore<'a>(
    mut read: BTreeMap<String, More>,
    parts: impl IntoIterator<Item = (&'static str, &'a mut More)>,
) -> Result<(), String> {
    for (name, more) in parts {
        if let Some(read) = read.remove(name) {
            *more = read;
        }
    }
    match read.first_key_value() {
        None => Ok(()),
        Some((name, _)) => {
            Err(format!("the additional fields are damaged: they name the part {name:?}, which is missing"))
        }
    }
}

impl TraceEvent {
    /// What the event has beyond the first version of the model.
    pub fn additions(&self) -> Additions {
        let metrics = &self.data.performance_metrics;
        let measured = [
            metrics.execution_time_ns.is_some(),
            metrics.memory_usage_bytes.is_some(),
            metrics.cpu_usage_percent.is_some(),
            metrics.queue_depth.is_some(),
            metrics.throughput_msgs_per_sec.is_some(),
        ];
        let unmeasured = measured.iter().rev().fold(0, |bits, measured| bits << 1 | u8::from(!measured));
        let parts = [
            ("event", &self.more),
            ("data", &self.data.more),
            ("performance_metrics", &metrics.more),
            ("causality", &self.causality.more),
        ];
        let message = self.data.message.as_ref().map(|message| ("message", &message.more));
        let state = self.data.state_diff.as_ref().map(|state| ("state_diff", &state.more));
        Additions::new(unmeasured, parts.into_iter().chain(message).chain(state))
    }

    /// Restores what [`additions`](Self::additions) said of the event. Fails when the additions are not those of an event
    /// with the same parts.
    pub fn add(&mut self, additions: &Additions) -> Result<(), String> {
        let Additions { unmeasured, .. } = *additions;
        if unmeasured > NOTHING_MEASURED {
            return Err(format!("the bits {unmeasured:#b} do not stand for metrics"));
        }
        let TraceEvent { data, causality, more, .. } = self;
        let metrics = &mut data.performance_metrics;
        let keep = |bit: u8| unmeasured & bit == 0;
        metrics.execution_time_ns = metrics.execution_time_ns.filter(|_| keep(1));
        metrics.memory_usage_bytes = metrics.memory_usage_bytes.filter(|_| keep(2));
        metrics.cpu_usage_percent = metrics.cpu_usage_percent.filter(|_| keep(4));
        metrics.queue_depth = metrics.queue_depth.filter(|_| keep(8));
        metrics.throughput_msgs_per_sec = metrics.throughput_msgs_per_sec.filter(|_| keep(16));
        if additions.more.is_none() {
            return Ok(());
        }
        let parts = [
            ("event", more),
            ("data", &mut data.more),
            ("performance_metrics", &mut metrics.more),
            ("causality", &mut causality.more),
        ];
        let message = data.message.as_mut().map(|message| ("message", &mut message.more));
        let state = data.state_diff.as_mut().map(|state| ("state_diff", &mut state.more));
        restore(additions.parts()?, parts.into_iter().chain(message).chain(state))
    }
}

impl FlowTrace {
    /// What the header has beyond the first version of the model. The events have additions of their own.
    pub fn additions(&self) -> Additions {
        Additions::new(0, [("trace", &self.more), ("version", &self.version.more), ("metadata", &self.metadata.more)])
    }

    /// Restores what [`additions`](Self::additions) said of the header.
    pub fn add(&mut self, additions: &Additions) -> Result<(), String> {
        if additions.unmeasured != 0 {
            return Err("a header has no metrics".into());
        }
        let Self { more, version, metadata, .. } = self;
        restore(additions.parts()?, [("trace", more), ("version", &mut version.more), ("metadata", &mut metadata.more)])
    }
}
