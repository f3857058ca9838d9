use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::duration;

/// The table `[server]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The name or address to listen on.
    pub host: String,
    /// The TCP port; 0 takes any free one.
    pub port: u16,
    /// The origins of web pages that may connect, in addition to those on this machine.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// The names that browsers may use for the host, in addition to its own.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The most WebSocket connections at the same time; `None` for no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// The memory for all that connections hold.
    pub max_buffered_mb: Buffered,
    /// How long a host that is asked to stop still accepts connections, while `/ready` says that it stops.
    #[serde(deserialize_with = "duration::deserialize")]
    pub shutdown_delay: Duration,
    /// A setting of Reflow's, without effect.
    pub websocket_buffer_size: Option<usize>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            max_connections: None,
            max_buffered_mb: Buffered::default(),
            shutdown_delay: Duration::ZERO,
            websocket_buffer_size: None,
        }
    }
}

impl ServerConfig {
    /// `HOST:PORT`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        self.address_with(self.port)
    }

    /// The same with another port.
    pub fn address_with(&self, port: u16) -> String {
        let host = &self.host;
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// A size in MiB that a few of the largest messages fit into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Buffered(u32);

impl Buffered {
    /// The least: one of the largest messages and one of the largest answers.
    const MIN: u32 = 128;
    /// More can't be counted.
    const MAX: u32 = 1024 * 1024;

    /// The same in bytes.
    pub fn bytes(self) -> usize {
        self.0 as usize * 1024 * 1024
    }
}

impl Default for Buffered {
    fn default() -> Self {
        Self(512)
    }
}

impl TryFrom<u32> for Buffered {
    type Error = String;

    fn try_from(mib: u32) -> Result<Self, String> {
        let (min, max) = (Self::MIN, Self::MAX);
        if (min..=max).contains(&mib) {
            Ok(Self(mib))
        } else {
            Err(format!("`max_buffered_mb` is {mib}; it must be between {min}, for the largest messages, and {max}"))
        }
    }
}

/// The origin of a web page: `scheme://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AllowedOrigin {
    scheme: String,
    pub host: HostName,
    /// `None` when neither the text nor the scheme gives one.
    pub port: Option<u16>,
}

impl AllowedOrigin {
    /// Parses a value of the header `Origin`; `None` when it is not a valid origin.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, authority) = text.split_once("://")?;
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', '*', ',', ' ']) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let host = HostName::parse(url.host_str()?)?;
        Some(Self { scheme: url.scheme().to_owned(), host, port: url.port_or_known_default() })
    }

    /// The port of a host that is named without one.
    pub fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| {
            format!("`{text}` is not a valid origin: expected scheme://host[:port], for example https://dash.example")
        })
    }
}

/// The name of a host, with one port or any: `host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AllowedHost {
    pub name: HostName,
    pub port: Option<u16>,
}

impl AllowedHost {
    /// Parses a value of the header `Host`; `None` when it is not a valid host.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                (name, Some(if is_number { port.parse().ok()? } else { return None }))
            }
            _ => (text, None),
        };
        Some(Self { name: HostName::parse(name)?, port })
    }

    /// Whether this entry of a list covers `host`.
    pub fn covers(&self, host: &Self) -> bool {
        self.name == host.name && (self.port.is_none() || self.port == host.port)
    }
}

impl TryFrom<String> for AllowedHost {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| {
            format!(
                "`{text}` is not a valid host: expected name[:port], for example traces.example or traces.example:8080"
            )
        })
    }
}

/// A host in canonical form: an address, or a name in lower case without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// An IP address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

impl HostName {
    /// Parses a name or an address, IPv6 in brackets; `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return Some(Self::Address(address.parse::<Ipv6Addr>().ok()?.to_canonical()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return address.is_ipv4().then_some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        name.split('.').all(is_label).then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// Whether it is always the machine of the peer that uses it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_in_canonical_form() {
        let same = |a, b| assert_eq!(AllowedOrigin::parse(a).unwrap(), AllowedOrigin::parse(b).unwrap());
        same("https://dash.example", "HTTPS://Dash.Example:443");
        same("http://dash.example.", "http://dash.example:80");
        same("http://127.0.0.1", "http://127.1:80");
        assert_ne!(AllowedOrigin::parse("http://a.example"), AllowedOrigin::parse("https://a.example"));
        assert_ne!(AllowedOrigin::parse("http://a.example"), AllowedOrigin::parse("http://a.example:8080"));
        let app = AllowedOrigin::parse("tauri://localhost").unwrap();
        assert_eq!((app.host.is_loopback(), app.port), (true, None));
    }

    #[test]
    fn memory_that_is_too_small_for_a_message_is_refused() {
        assert_eq!(Buffered::try_from(128).unwrap().bytes(), 128 << 20);
        for mib in [0, 127, u32::MAX] {
            let error = Buffered::try_from(mib).unwrap_err();
            assert!(error.contains(&mib.to_string()) && error.contains("128"), "{error}");
        }
    }

    #[test]
    fn an_invalid_origin_or_host_is_refused() {
        for text in [
            "x",
            "",
            "null",
            "*",
            "dash.example",
            "https://",
            "https://a/",
            "https://*.a",
            "https://u@a",
            "https://a:x",
        ] {
            assert_eq!(AllowedOrigin::parse(text), None, "{text:?}");
        }
        for text in ["", "a b", "http://a", "a:", "a:x", "a:70000", "a:+1", "::1", "[::1", "*.a", "a/b", "u@a", "a..b"]
        {
            assert_eq!(AllowedHost::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_host_without_a_port_covers_every_port() {
        let covers = |entry, host| AllowedHost::parse(entry).unwrap().covers(&AllowedHost::parse(host).unwrap());
        assert!(covers("traces.example", "Traces.Example:8080"));
        assert!(covers("traces.example:8080", "traces.example:8080"));
        assert!(!covers("traces.example:8080", "traces.example"));
        assert!(!covers("traces.example:8080", "traces.example:80"));
        assert!(!covers("traces.example", "a.traces.example"));
        assert!(covers("[::1]:80", "[0:0::1]:80"));
    }
}
