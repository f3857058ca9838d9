use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

use crate::config::ServerConfig;

/// The address of a host: `ws://HOST:PORT`, or `wss://HOST:PORT` for a host behind a proxy that does TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostUrl(String);

const EXPECTED: &str = "expected ws://HOST:PORT, for example ws://127.0.0.1:8080";

impl FromStr for HostUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| format!("{error}: {EXPECTED}"))?;
        match url.scheme() {
            "ws" | "wss" => {}
            "http" => return Err(format!("a host is reached with ws:// instead of http://: {EXPECTED}")),
            "https" => return Err(format!("a host is reached with wss:// instead of https://: {EXPECTED}")),
            _ => return Err(EXPECTED.into()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("a host has no users and passwords: {EXPECTED}"));
        }
        // What is given is kept: a URL without a path gets none.
        Ok(Self(text.to_owned()))
    }
}

impl HostUrl {
    /// The host of this configuration. The error says why there is none.
    pub fn configured(server: &ServerConfig) -> Result<Self, String> {
        if server.port == 0 {
            return Err("the configuration has port 0, so the host's port is unknown".into());
        }
        // A host that listens on every address is reached on this machine.
        let name = match server.host.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".into(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1".into(),
            _ => server.host.clone(),
        };
        let address = ServerConfig { host: name, ..server.clone() }.address();
        format!("ws://{address}")
            .parse()
            .map_err(|error| format!("the configured host is not a valid address: {error}"))
    }

    /// The URL as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the port is that of web servers, because none is given.
    pub(super) fn has_default_port(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| url.port().is_none())
    }

    /// The same without TLS.
    pub(super) fn without_tls(&self) -> Option<String> {
        self.0.strip_prefix("wss://").map(|rest| format!("ws://{rest}"))
    }

    /// Whether the host is on this machine.
    pub(super) fn is_local(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        })
    }
}

impl fmt::Display for HostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_not_a_hosts_is_refused_with_the_form() {
        for (text, part) in [
            ("http://127.0.0.1:8080", "ws:// instead of http://"),
            ("https://traces.example", "wss:// instead of https://"),
            ("localhost:8080", "expected ws://HOST:PORT"),
            ("127.0.0.1:8080", "expected ws://HOST:PORT"),
            ("ws://", "empty host"),
            ("ws://h:99999", "invalid port"),
            ("ws://me:secret@h:1", "no users and passwords"),
            ("", "expected ws://HOST:PORT"),
        ] {
            let error = text.parse::<HostUrl>().unwrap_err();
            assert!(error.contains(part) && error.contains("ws://127.0.0.1:8080"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for text in ["ws://127.0.0.1:8080", "wss://traces.example/reflow", "ws://[::1]:8080"] {
            assert_eq!(text.parse::<HostUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_configured_host_is_reached_on_this_machine_when_it_listens_everywhere() {
        for (host, url) in [
            ("0.0.0.0", "ws://127.0.0.1:8080"),
            ("::", "ws://[::1]:8080"),
            ("[::]", "ws://[::1]:8080"),
            ("traces.internal", "ws://traces.internal:8080"),
            ("::1", "ws://[::1]:8080"),
        ] {
            let server = ServerConfig { host: host.into(), ..ServerConfig::default() };
            assert_eq!(HostUrl::configured(&server).unwrap().as_str(), url);
        }
        let any_port = ServerConfig { port: 0, ..ServerConfig::default() };
        assert!(HostUrl::configured(&any_port).unwrap_err().contains("port 0"));
    }
}
