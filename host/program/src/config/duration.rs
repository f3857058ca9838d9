//! Durations as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// The units, in seconds.
const UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
];

/// Reads a duration: a number with a unit, like `250ms` or `1.5h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = UNITS.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    duration.ok_or_else(|| "a duration is a number with a unit: ns, us, ms, s, m, h, d, w; for example `250ms`".into())
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(|problem| D::Error::custom(format!("{text:?} is none: {problem}")))
}

/// The same for a duration that may be left out.
pub(super) fn deserialize_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, nanos) in
            [("250ms", 250_000_000), ("1.5s", 1_500_000_000), ("7 d", 604_800_000_000_000), ("3us", 3_000)]
        {
            assert_eq!(parse_duration(text).unwrap().as_nanos(), nanos, "{text}");
        }
        for text in ["", "5", "m", "-5m", "5y", "infs", "nans"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
