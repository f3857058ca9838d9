//! The table `[plugins.redis.config]`.

use std::num::NonZeroU32;

use reflow_tracing_plugin::{Result, StorageError};
use serde::Deserialize;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a trace is kept after the last write to it. By default, forever.
    pub ttl_seconds: Option<NonZeroU32>,
}

impl Settings {
    pub fn parse(config: &str) -> Result<Self> {
        serde_json::from_str(config).map_err(|error| {
            StorageError::InvalidArgument(format!(
                "the settings of the plugin `redis` are not valid: {config}: {error}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_setting_is_refused_by_name() {
        assert_eq!(Settings::parse("{}").unwrap(), Settings::default());
        assert_eq!(Settings::parse(r#"{"ttl_seconds":3600}"#).unwrap().ttl_seconds, NonZeroU32::new(3600));
        for (config, named) in [(r#"{"ttl":1}"#, "expected `ttl_seconds`"), (r#"{"ttl_seconds":0}"#, "nonzero")] {
            let StorageError::InvalidArgument(message) = Settings::parse(config).unwrap_err() else {
                panic!("{config}")
            };
            assert!(message.contains(named), "{message}");
        }
    }
}
