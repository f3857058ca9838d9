//! Durations in steps, a quarter of a power of two wide: few enough for an index each, narrow enough that those at the ends of
//! a range hold few traces that are not asked for.

use std::ops::RangeInclusive;

/// The step of everything that ended before it began.
const NEGATIVE: u16 = 0;
/// The last step: of all that 64 bits take.
const LAST: u16 = step(u64::MAX as i128);

/// The step of a duration, in nanoseconds. A longer one has none before it.
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

/// The steps in which durations from `min` to `max` lie.
pub fn steps(min: Option<i64>, max: Option<i64>) -> RangeInclusive<u16> {
    min.map_or(NEGATIVE, |min| step(min.into()))..=max.map_or(LAST, |max| step(max.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_follows_the_one_before() {
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
    fn a_step_is_at_most_a_quarter_of_what_is_in_it() {
        for power in 4..63 {
            let start = 1_i128 << power;
            assert_eq!(step(start), step(start + start / 4 - 1));
            assert_eq!(step(start) + 1, step(start + start / 4));
        }
    }
}
