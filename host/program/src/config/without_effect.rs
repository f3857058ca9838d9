//! Tables of Reflow's own server that have no effect here. Their settings are checked, so that a typo is an error.

use serde::Deserialize;

/// The table `[compression]` of Reflow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Read for its errors only.
pub struct CompressionConfig {
    enabled: Option<bool>,
    algorithm: Option<String>,
    level: Option<i32>,
}

/// The table `[otlp]` of Reflow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Read for its errors only.
pub struct OtlpConfig {
    #[serde(default)]
    pub enabled: bool,
    endpoint: Option<String>,
    service_name: Option<String>,
}
