//! Times and durations as people write them.

use chrono::{DateTime, Utc};

use crate::config::parse_duration;

/// Reads a time: RFC 3339, or a duration before now, like `2h`.
pub(super) fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    parse_duration(text).ok().and_then(|ago| Utc::now().checked_sub_signed(chrono::TimeDelta::from_std(ago).ok()?)).ok_or_else(
        || {
            "expected RFC 3339, for example `2026-01-31T12:00:00Z`, or a duration before now, for example `30m`, `2h`, `7d`"
                .into()
        },
    )
}

/// A number of nanoseconds in a readable unit.
pub(super) fn display_nanos(nanos: i64) -> String {
    let (seconds, magnitude) = (nanos as f64 / 1e9, nanos.unsigned_abs());
    match magnitude {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.3} us", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.3} ms", seconds * 1e3),
        1_000_000_000..60_000_000_000 => format!("{seconds:.3} s"),
        60_000_000_000..3_600_000_000_000 => format!("{}m {:.1}s", nanos / 60_000_000_000, (seconds % 60.0).abs()),
        _ => format!("{}h {}m", nanos / 3_600_000_000_000, (nanos / 60_000_000_000 % 60).abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_relative_to_now() {
        assert_eq!(parse_time("1970-01-01T01:00:01+01:00").unwrap().timestamp(), 1);
        let time = parse_time("2h").unwrap();
        let ago = (Utc::now() - time).num_seconds();
        assert!((7_200..7_205).contains(&ago), "{ago}");
        for text in ["yesterday", "2026-01-31", "", "1e300d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_a_readable_unit() {
        for (nanos, text) in [
            (0, "0 ns"),
            (1_500, "1.500 us"),
            (-2_000_000, "-2.000 ms"),
            (1_234_567_890, "1.235 s"),
            (61_500_000_000, "1m 1.5s"),
            (7_260_000_000_000, "2h 1m"),
        ] {
            assert_eq!(display_nanos(nanos), text);
        }
    }
}
