//! Durations as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// Reads a duration: numbers with units, like `250ms`, `1.5h` or `1h 30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("{text:?} is not a valid duration ({error}): expected a number with a unit (ns, us, ms, s, m, h, d, w), for example `250ms`")
    })
}

/// For `#[serde(deserialize_with)]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same for an optional duration.
pub(super) fn deserialize_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, nanos) in [
            ("250ms", 250_000_000),
            ("1.5s", 1_500_000_000),
            ("0.25h", 900_000_000_000),
            ("7 d", 604_800_000_000_000),
            ("3us", 3_000),
            ("2w", 1_209_600_000_000_000),
            ("1h 30m", 5_400_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text).unwrap().as_nanos(), nanos, "{text}");
        }
        for text in ["", "5", "m", "-5m", "5q", "infs", "nans", "1e300d"] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(&format!("{text:?}")) && error.contains("`250ms`"), "{error}");
        }
    }
}
