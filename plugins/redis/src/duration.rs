//! Durations in steps, each a quarter of a power of two wide: few enough for an index each, and narrow enough that the steps
//! at the ends of a range have few traces outside it.

use std::ops::RangeInclusive;

/// The step of negative durations.
const NEGATIVE: u16 = 0;
/// The last step, for the largest 64-bit durations.
const LAST: u16 = step(u64::MAX as i128);

/// The step of a duration in nanoseconds. Never decreases with the duration.
pub const fn step(nanoseconds: i128) -> u16 {
    if nanoseconds < 0 {
        return NEGATIVE;
    }
    let most = u64::MAX as i128;
    let nanoseconds = (if nanoseconds > most { most } else { nanoseconds }) as u64;
    if nanoseconds < 4 {
        return nanoseconds as u16 + 1;
    }
    // The power of two, and the quarter after it.
    let power = nanoseconds.ilog2();
    let quarter = (nanoseconds >> (power - 2)) & 3;
    (power * 4 + quarter as u32) as u16 - 3
}

/// The steps of the durations from `min` to `max`.
pub fn steps(min: Option<i64>, max: Option<i64>) -> RangeInclusive<u16> {
    min.map_or(NEGATIVE, |min| step(min.into()))..=max.map_or(LAST, |max| step(max.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_ascend_without_a_gap() {
        let around = |power: u32| {
            let start = 1_i128 << power;
            (0..8).map(move |eighth| start + (start * eighth) / 8)
        };
        let durations: Vec<_> = (-5..32).chain((5..64).flat_map(around)).chain([i128::from(u64::MAX)]).collect();
        assert!(durations.is_sorted());
        for pair in durations.windows(2) {
            let (before, after) = (step(pair[0]), step(pair[1]));
            assert!(after == before || after == before + 1, "{pair:?}: {before}, {after}");
        }
        assert_eq!((step(-1), step(0), step(4), step(5), step(8)), (0, 1, 5, 6, 9));
        assert_eq!(LAST, 252);
    }

    #[test]
    fn a_step_is_a_quarter_of_a_power_of_two_wide() {
        for power in 4..63 {
            let start = 1_i128 << power;
            assert_eq!(step(start), step(start + start / 4 - 1));
            assert_eq!(step(start) + 1, step(start + start / 4));
        }
    }
}
