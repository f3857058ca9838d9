use serde::Deserialize;

/// The table `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Whether metrics are served.
    pub enabled: bool,
    /// A second TCP port that serves only metrics and health; 0 takes any free one.
    pub port: Option<u16>,
    /// The path of the metrics, on every port.
    pub endpoint: Endpoint,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { enabled: true, port: None, endpoint: Endpoint("/metrics".into()) }
    }
}

/// A path for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(String);

impl Endpoint {
    /// The paths that have another meaning.
    const TAKEN: [&str; 2] = ["/health", "/ready"];

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
        if !path.starts_with('/') || path.len() < 2 || !path.bytes().all(is_plain) {
            return Err(format!(
                "`{path}` is not a valid path: expected `/` and letters, digits, `-`, `_`, `.`, `~` or `/`, for example /metrics"
            ));
        }
        if Self::TAKEN.contains(&path.as_str()) || path.starts_with("/api/") {
            return Err(format!("the path `{path}` has another meaning: choose another one, for example /metrics"));
        }
        Ok(Self(path))
    }
}
