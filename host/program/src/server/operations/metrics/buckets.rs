/// Converts cumulative buckets to separate ones, which the encoder adds up again, with a last one for the values above all
/// bounds.
pub(super) fn separate(cumulative: impl Iterator<Item = (f64, u64)>, total: u64) -> Vec<(f64, u64)> {
    let mut below = 0;
    let mut separate: Vec<_> =
        cumulative.map(|(bound, count)| (bound, count - std::mem::replace(&mut below, count))).collect();
    separate.push((f64::INFINITY, total.saturating_sub(below)));
    separate
}
