use std::fmt;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Encodes a histogram with cumulative buckets: for each bound, the number of values up to it.
pub(super) fn encode(
    mut encoder: MetricEncoder<'_>,
    sum: f64,
    count: u64,
    cumulative: impl Iterator<Item = (f64, u64)>,
) -> fmt::Result {
    // The encoder adds the buckets up itself.
    let mut below = 0;
    let mut separate: Vec<_> =
        cumulative.map(|(bound, count)| (bound, count - std::mem::replace(&mut below, count))).collect();
    separate.push((f64::INFINITY, count.saturating_sub(below)));
    encoder.encode_histogram::<NoLabelSet>(sum, count, &separate, None)
}
