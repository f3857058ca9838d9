use serde::Serialize;

/// Quantiles of times in nanoseconds, exact: each is one of the times (the nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many times there are.
    pub count: u64,
    /// Half of the times are at most this long.
    pub p50_ns: u64,
    /// 95 % of the times are at most this long.
    pub p95_ns: u64,
    /// 99 % of the times are at most this long.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Quantiles {
    /// Of these times; `None` if there are none.
    pub(crate) fn of(mut times: Vec<u64>) -> Option<Self> {
        let max_ns = *times.iter().max()?;
        let mut nearest_rank = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            *times.select_nth_unstable(rank - 1).1
        };
        let [p50_ns, p95_ns, p99_ns] = [50, 95, 99].map(&mut nearest_rank);
        Some(Self { count: times.len() as u64, p50_ns, p95_ns, p99_ns, max_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_time_of_the_nearest_rank() {
        assert_eq!(Quantiles::of(Vec::new()), None);
        let one = Quantiles::of(vec![7]).unwrap();
        assert_eq!((one.count, one.p50_ns, one.p99_ns, one.max_ns), (1, 7, 7, 7));
        let hundred = Quantiles::of((1..=100).rev().collect()).unwrap();
        assert_eq!((hundred.p50_ns, hundred.p95_ns, hundred.p99_ns, hundred.max_ns), (50, 95, 99, 100));
        let four = Quantiles::of(vec![40, 10, 30, 20]).unwrap();
        assert_eq!((four.p50_ns, four.p95_ns), (20, 40));
    }
}
