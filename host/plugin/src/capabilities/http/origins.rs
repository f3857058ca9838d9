//! The origins that a plugin's requests may go to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::Uri;
use http::header::{self, HeaderName};
use reflow_tracing_storage::StorageError;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::Error;

use super::address::Reach;
use super::idle::IdleConnections;
use crate::capabilities::secrets::Filled;
use crate::capabilities::tls;
use crate::policy::{Grants, HttpGrant};

/// The origins in `plugins.NAME.grants.http`.
pub(crate) struct Origins {
    allowed: Vec<Allowed>,
    pub(super) idle: Arc<IdleConnections>,
}

pub(super) struct Allowed {
    scheme: Scheme,
    host: AllowedHost,
    port: u16,
    /// For HTTPS.
    tls: Option<TlsConnector>,
    headers: Vec<Header>,
    reach: Reach,
}

/// A header that the host sets in each request.
#[derive(Clone)]
pub(super) struct Header {
    pub name: HeaderName,
    pub value: Filled,
}

enum AllowedHost {
    Exactly(Host),
    /// Every subdomain of this domain, but not the domain itself.
    Below(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// A host in canonical form: an address, or a lower-case name without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// The origin of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

impl Origins {
    /// The origins granted to `plugin`.
    pub(crate) fn new(plugin: &str, grants: &Grants) -> Result<Self, StorageError> {
        let allowed = |(index, grant): (usize, &HttpGrant)| {
            Allowed::of(grant).map_err(|problem| {
                // Something else may hold a password.
                let entry = match grant.origin.contains(['@', '?', '#']) {
                    true => grant.origin.split('/').next().map_or("..".into(), |scheme| format!("{scheme}//..")),
                    false => grant.origin.clone(),
                };
                let number = index + 1;
                StorageError::Configuration(format!(
                    "plugins.{plugin}.grants.http: entry {number}, {entry:?}: {problem}"
                ))
            })
        };
        Ok(Self {
            allowed: grants.http.iter().enumerate().map(allowed).collect::<Result<_, _>>()?,
            idle: Arc::default(),
        })
    }

    /// The entry that allows the origin.
    pub(super) fn allowing(&self, origin: &Origin) -> Option<&Allowed> {
        self.allowed.iter().find(|allowed| {
            allowed.scheme == origin.scheme
                && allowed.port == origin.port
                && match (&allowed.host, &origin.host) {
                    (AllowedHost::Exactly(allowed), host) => allowed == host,
                    (AllowedHost::Below(domain), Host::Name(name)) => {
                        name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                    }
                    (AllowedHost::Below(_), Host::Address(_)) => false,
                }
        })
    }
}

impl Allowed {
    fn of(HttpGrant { origin, ca, headers, private }: &HttpGrant) -> Result<Self, String> {
        let mut allowed = Self::parse(origin)
            .map_err(|problem| format!("{problem}; write https://HOST, https://HOST:PORT or https://*.DOMAIN"))?;
        allowed.headers = headers.iter().map(|(name, value)| Header::of(name, value)).collect::<Result<_, _>>()?;
        if *private {
            allowed.reach = Reach::Everywhere;
        }
        match (allowed.scheme, ca) {
            (Scheme::Http, None) => Ok(allowed),
            (Scheme::Http, Some(_)) => Err("`ca` needs an https origin".into()),
            (Scheme::Https, ca) => Ok(Self { tls: Some(tls::connector(ca.as_deref())?), ..allowed }),
        }
    }

    /// The connector, for HTTPS.
    pub(super) fn tls(&self) -> Option<TlsConnector> {
        self.tls.clone()
    }

    /// The addresses that the origin may have.
    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// The headers that the host sets.
    pub(super) fn headers(&self) -> &[Header] {
        &self.headers
    }

    fn parse(entry: &str) -> Result<Self, &'static str> {
        let (scheme, authority) = entry.split_once("://").ok_or("it is not a valid origin")?;
        let scheme = Scheme::parse(scheme)?;
        if authority.contains(['/', '?', '#', '\\']) {
            return Err("an origin must not have a path");
        }
        let (host, port) = split_port(authority)?;
        let host = match host.strip_prefix("*.") {
            Some(domain) => match Host::parse(domain)? {
                Host::Name(name) => AllowedHost::Below(name),
                Host::Address(_) => return Err("an address has no subdomains"),
            },
            None => AllowedHost::Exactly(Host::parse(host)?),
        };
        let reach = match &host {
            AllowedHost::Exactly(Host::Address(_)) => Reach::Everywhere,
            AllowedHost::Exactly(Host::Name(name)) if name == "localhost" => Reach::Loopback,
            _ => Reach::Internet,
        };
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.port()), tls: None, headers: Vec::new(), reach })
    }
}

impl Header {
    /// Fails without showing the value, which may be a secret.
    fn of(name: &str, value: &str) -> Result<Self, String> {
        /// Those that say where a request goes, and where it ends.
        const OF_THE_HOST: [HeaderName; 6] = [
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::UPGRADE,
            header::TE,
        ];
        let parsed: HeaderName = name.parse().map_err(|_| format!("{name:?} is not the name of a header"))?;
        if OF_THE_HOST.contains(&parsed) {
            return Err(format!("the header `{parsed}` can't be set"));
        }
        let value = Filled::parse(value).map_err(|problem| format!("the header `{parsed}`: {problem}"))?;
        Ok(Self { name: parsed, value })
    }
}

impl Origin {
    /// The origin of a request for `uri`. Fails on an ambiguous one.
    pub(super) fn of(uri: &Uri) -> Result<Self, &'static str> {
        let scheme = Scheme::parse(uri.scheme_str().ok_or("it has no scheme")?)?;
        let (host, port) = split_port(uri.authority().ok_or("it has no host")?.as_str())?;
        Ok(Self { scheme, host: Host::parse(host)?, port: port.unwrap_or(scheme.port()) })
    }

    /// `HOST:PORT`, to connect to.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The name that the server's certificate must have.
    pub(super) fn server_name(&self) -> Result<ServerName<'static>, Error> {
        match &self.host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid),
            Host::Address(address) => Ok(ServerName::from(*address)),
        }
    }
}

impl Scheme {
    fn parse(scheme: &str) -> Result<Self, &'static str> {
        match scheme {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err("the scheme is neither http nor https"),
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Splits `HOST:PORT`, where an IPv6 address is in brackets and the port may be missing.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("a user or a password is not allowed here");
    }
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority[end_of_host..].split_once(':') {
        Some((rest, port)) => (&authority[..end_of_host + rest.len()], Some(port)),
        None => (authority, None),
    };
    match port {
        None => Ok((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => match port.parse() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err("the port is not between 1 and 65535"),
        },
        Some(_) => Err("the port is not a number"),
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self, &'static str> {
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']').ok_or("the address has no closing bracket")?;
            let address: Ipv6Addr = address.parse().map_err(|_| "the text in brackets is not an IPv6 address")?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let labels = || name.split('.');
        if name.len() > 253 || labels().any(|label| label.is_empty() || label.len() > 63) {
            return Err("the host is not a valid name");
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return Err("a host name has only letters, digits, `-`, `_` and `.`; write other characters in Punycode");
        }
        // Some resolvers accept `127.1` and `0x7f.1` as addresses.
        let last = labels().next_back().unwrap_or_default();
        if last.starts_with(|first: char| first.is_ascii_digit()) {
            return Err("the host is neither a name nor an IPv4 address of four decimal numbers");
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, url: &str) -> bool {
        let grants = Grants { http: vec![entry.into()], ..Grants::default() };
        let origins = Origins::new("p", &grants).expect(entry);
        let uri: Uri = url.parse().expect(url);
        Origin::of(&uri).is_ok_and(|origin| origins.allowing(&origin).is_some())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let entry = "https://api.example.com";
        for url in [
            "https://api.example.com",
            "https://api.example.com/a/b?c",
            "https://api.example.com:443/",
            "https://API.Example.COM/",
            "https://api.example.com./",
        ] {
            assert!(allows(entry, url), "{url}");
        }
        for url in [
            "http://api.example.com/",
            "http://api.example.com:443/",
            "https://api.example.com:8443/",
            "https://example.com/",
            "https://evil.api.example.com/",
            "https://api.example.com.evil.com/",
            "https://xapi.example.com/",
            "https://api.example.com@evil.com/",
            "https://api.example.com:443@evil.com/",
            "https://user:password@api.example.com/",
            "https://evil.com/api.example.com",
        ] {
            assert!(!allows(entry, url), "{url}");
        }
        assert!(allows("http://localhost:8123", "http://LOCALHOST:8123/"));
        assert!(allows("http://Localhost.:8123", "http://localhost:8123/"));
        assert!(!allows("http://localhost:8123", "http://localhost/"));
    }

    #[test]
    fn a_wildcard_allows_the_subdomains_of_a_domain() {
        let entry = "https://*.example.com";
        for url in ["https://a.example.com/", "https://a.b.example.com/", "https://A.EXAMPLE.com./"] {
            assert!(allows(entry, url), "{url}");
        }
        for url in [
            "https://example.com/",
            "https://aexample.com/",
            "https://a.example.com.evil.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "http://a.example.com/",
            "https://a.example.com:8443/",
        ] {
            assert!(!allows(entry, url), "{url}");
        }
        // An empty label is not valid.
        assert!("https://.example.com/".parse::<Uri>().map_or(true, |uri| Origin::of(&uri).is_err()));
    }

    #[test]
    fn a_name_leads_to_the_internet_unless_the_grant_says_more() {
        let reach = |origin: &str, private| Allowed::of(&HttpGrant { private, ..origin.into() }).unwrap().reach();
        for origin in
            ["https://api.example.com", "https://*.example.com", "http://localhost.example.com", "http://a.localhost"]
        {
            assert_eq!(reach(origin, false), Reach::Internet, "{origin}");
            assert_eq!(reach(origin, true), Reach::Everywhere, "{origin}");
        }
        assert_eq!(reach("http://LocalHost.:9000", false), Reach::Loopback);
        assert_eq!(reach("http://127.0.0.1:9000", false), Reach::Everywhere);
        assert_eq!(reach("http://[fd00::1]", false), Reach::Everywhere);
    }

    #[test]
    fn an_address_is_compared_as_one() {
        assert!(allows("http://[::1]:9000", "http://[0:0:0:0:0:0:0:1]:9000/"));
        assert!(!allows("http://[::1]:9000", "http://127.0.0.1:9000/"));
        assert!(allows("http://127.0.0.1:9000", "http://127.0.0.1:9000/"));
        for url in
            ["http://127.1:9000/", "http://2130706433:9000/", "http://0x7f.0.0.1:9000/", "http://127.0.0.01:9000/"]
        {
            assert!(!allows("http://127.0.0.1:9000", url), "{url}");
        }
        assert!(!allows("http://127.0.0.1:9000", "http://[::ffff:127.0.0.1]:9000/"));
    }

    #[test]
    fn an_invalid_origin_is_refused_by_name() {
        for entry in [
            "",
            "*",
            "api.example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://*.*.com",
            "https://a.*.com",
            "https://*example.com",
            "https://*.127.0.0.1",
            "https://*.[::1]",
            "https://user@example.com",
            "https://example.com/",
            "https://example.com/path",
            "https://example.com?q",
            "https://example.com:",
            "https://example.com:0",
            "https://example.com:70000",
            "https://example.com:+80",
            "https://exam ple.com",
            "https://exam%70le.com",
            "https://\u{e4}.com",
            "https://a..com",
            "https://[::1",
            "https://[fe80::1%25eth0]",
            "https://::1",
            "https://127.1",
            "ftp://example.com",
            "HTTPS://example.com",
        ] {
            let grants = Grants { http: vec!["https://fine.example".into(), entry.into()], ..Grants::default() };
            let message = Origins::new("p", &grants).err().unwrap_or_else(|| panic!("{entry} is taken")).to_string();
            assert!(message.contains("plugins.p.grants.http: entry 2"), "{message}");
            let shown = message.contains(&format!("{entry:?}"));
            assert_eq!(shown, !entry.contains(['@', '?']), "what may hold a password is not shown: {message}");
        }
    }
}
