//! Refuses requests of untrusted web pages.
//!
//! A browser lets any page open a WebSocket to any host that it can reach, and reports the page only in the header `Origin`. An
//! attacker who controls a domain name can also resolve it to an address of this host ("DNS rebinding"): the browser then treats
//! the host as part of the attacker's site, and the header `Host` has the attacker's name. Both headers are checked, on every path:
//!
//! - An origin is allowed if it is in `allowed_origins`; if both it and the requested host are on this machine; or if it is the
//!   host itself, under a known name.
//! - Known names are loopback names, IP addresses (DNS can't redirect them), the setting `host`, the name of the machine, and
//!   `allowed_hosts`. A request from a browser must name such a host.
//!
//! Other clients may use any name for the host, such as the name of a service in a cluster. They can set any header, so refusing them
//! would protect nothing. A WebSocket of a browser always has an `Origin`. Other requests of a browser may have none, and browsers
//! send `Sec-Fetch-Site` only to encrypted or local hosts, but `Accept-Language` is always present and a page can't remove it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::config::{AllowedHost, AllowedOrigin, HostName, ServerConfig};

/// The origins and hosts whose requests are allowed.
#[derive(Debug, Clone, Default)]
pub struct Access {
    origins: Vec<AllowedOrigin>,
    hosts: Vec<AllowedHost>,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(
        "the origin {0:?} is not allowed: only pages on this machine may use the host. To allow it, add it to \
         `allowed_origins` in `[server]` of the configuration"
    )]
    Origin(String),
    #[error(
        "the origin \"null\" is not allowed: every page without its own origin has it, such as a file or a sandboxed frame. \
         Serve the page from an origin, and add that origin to `allowed_origins` in `[server]` of the configuration"
    )]
    NullOrigin,
    #[error(
        "the browser requested the host {0:?}, which is not a known name of this host. To allow it, add it to \
         `allowed_hosts` in `[server]` of the configuration"
    )]
    Host(String),
}

impl Access {
    /// What the configuration allows.
    pub fn new(config: &ServerConfig) -> Self {
        let own = [Some(config.host.clone()), gethostname::gethostname().into_string().ok()];
        let own = own.iter().flatten().filter_map(|name| AllowedHost::parse(name));
        Self {
            origins: config.allowed_origins.clone(),
            hosts: config.allowed_hosts.iter().cloned().chain(own).collect(),
        }
    }

    /// Checks a request. `authority` is the host in the target of the request, if it has one.
    fn check(&self, authority: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let named: Vec<_> = authority.map(Into::into).into_iter().chain(text(header::HOST)).collect();
        let known = || match named.iter().find(|name| !self.knows(name)) {
            Some(unknown) => Err(Refusal::Host(unknown.clone().into_owned())),
            None => Ok(()),
        };
        let mut origins = text(header::ORIGIN).peekable();
        if origins.peek().is_none() {
            return if may_be_from_a_page(headers) { known() } else { Ok(()) };
        }
        for origin in origins {
            if origin == "null" {
                return Err(Refusal::NullOrigin);
            }
            let refused = || Refusal::Origin(origin.clone().into_owned());
            let parsed = AllowedOrigin::parse(&origin).ok_or_else(refused)?;
            if self.origins.contains(&parsed) {
                continue;
            }
            known()?;
            let is_allowed = |name: &str| {
                AllowedHost::parse(name).is_some_and(|host| {
                    let both_local = parsed.host.is_loopback() && host.name.is_loopback();
                    let port = host.port.or(parsed.default_port());
                    both_local || (parsed.host == host.name && parsed.port == port)
                })
            };
            if named.is_empty() || !named.iter().all(|name| is_allowed(name)) {
                return Err(refused());
            }
        }
        Ok(())
    }

    /// Whether DNS rebinding can be excluded for a request to this name.
    fn knows(&self, host: &str) -> bool {
        AllowedHost::parse(host).is_some_and(|host| {
            matches!(host.name, HostName::Address(_))
                || host.name.is_loopback()
                || self.hosts.iter().any(|allowed| allowed.covers(&host))
        })
    }
}

/// Whether a web page may have sent a request without an origin.
fn may_be_from_a_page(headers: &HeaderMap) -> bool {
    // A page can't set these headers, and browsers send an origin with them.
    let is_websocket = headers.contains_key(header::SEC_WEBSOCKET_KEY) && headers.contains_key(header::UPGRADE);
    !is_websocket
        && (headers.contains_key(header::ACCEPT_LANGUAGE)
            || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")))
}

/// Answers 403 to a request that is not allowed.
pub(super) async fn enforce(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    match access.check(authority, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            tracing::info!("refused a request: {refusal}");
            (StatusCode::FORBIDDEN, format!("refused: {refusal}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn access() -> Access {
        Access::new(&ServerConfig {
            host: "tracing.internal".into(),
            allowed_origins: vec![AllowedOrigin::parse("https://dash.example").unwrap()],
            allowed_hosts: ["traces.example", "other.example:8080"]
                .map(|host| AllowedHost::parse(host).unwrap())
                .into(),
            ..ServerConfig::default()
        })
    }

    fn check(headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        access().check(None, &map)
    }

    #[test]
    fn an_origin_is_allowed_or_refused_together_with_the_host() {
        for (origin, host, allowed) in [
            // On this machine.
            ("http://localhost:3000", "127.0.0.1:8080", true),
            ("http://127.0.0.1:3000", "localhost:8080", true),
            ("http://app.localhost", "[::1]:8080", true),
            ("http://[::1]:3000", "127.9.9.9:8080", true),
            // A page on the user's machine, and a host on another one.
            ("http://localhost:3000", "10.0.0.5:8080", false),
            ("http://localhost:3000", "traces.example", false),
            // Untrusted pages.
            ("https://evil.example", "127.0.0.1:8080", false),
            ("https://evil.example", "localhost:8080", false),
            ("http://localhost.evil.example", "localhost:8080", false),
            ("http://notlocalhost", "localhost:8080", false),
            ("http://10.0.0.5", "127.0.0.1:8080", false),
            ("null", "127.0.0.1:8080", false),
            ("", "127.0.0.1:8080", false),
            ("garbage", "127.0.0.1:8080", false),
            // DNS rebinding.
            ("http://evil.example:8080", "evil.example:8080", false),
            ("http://localhost:8080", "evil.example:8080", false),
            // Listed in the configuration: exact matches only.
            ("https://dash.example", "127.0.0.1:8080", true),
            ("https://dash.example:443", "traces.example", true),
            ("http://dash.example", "127.0.0.1:8080", false),
            ("https://dash.example:8443", "127.0.0.1:8080", false),
            ("https://a.dash.example", "127.0.0.1:8080", false),
            // The host's own pages, under a known name.
            ("http://10.0.0.5:8080", "10.0.0.5:8080", true),
            ("https://traces.example", "traces.example", true),
            ("https://traces.example", "traces.example:443", true),
            ("http://tracing.internal:8080", "tracing.internal:8080", true),
            ("http://10.0.0.5:9090", "10.0.0.5:8080", false),
            ("http://other.example", "other.example", false),
            ("http://other.example:8080", "other.example:8080", true),
        ] {
            let decision = check(&[("origin", origin), ("host", host)]);
            assert_eq!(decision.is_ok(), allowed, "{origin} to {host}: {decision:?}");
        }
    }

    #[test]
    fn a_browser_request_without_an_origin_must_name_a_known_host() {
        let browser = [("sec-fetch-site", "same-origin"), ("accept-language", "en")];
        for (host, known) in [
            ("localhost:8080", true),
            ("192.168.1.5:8080", true),
            ("[fe80::1]:8080", true),
            ("TRACES.example:1", true),
            ("other.example:8080", true),
            ("tracing.internal", true),
            ("other.example", false),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("user@localhost", false),
        ] {
            for header in browser {
                assert_eq!(check(&[("host", host), header]).is_ok(), known, "{host}, {header:?}");
            }
            // curl, Prometheus and similar clients.
            assert_eq!(check(&[("host", host), ("user-agent", "curl")]), Ok(()), "{host}");
            // A WebSocket without an origin is not a browser's.
            let websocket =
                [("host", host), ("upgrade", "websocket"), ("sec-websocket-key", "x"), ("accept-language", "*")];
            assert_eq!(check(&websocket), Ok(()), "{host}");
        }
        assert_eq!(check(&[]), Ok(()));
    }

    #[test]
    fn every_origin_and_every_host_must_be_allowed() {
        let evil = Refusal::Origin("https://evil.example".into());
        let two = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")];
        assert_eq!(check(&two), Err(evil));
        let two = [("host", "localhost"), ("host", "evil.example"), ("origin", "http://localhost")];
        assert_eq!(check(&two), Err(Refusal::Host("evil.example".into())));
        assert!(check(&[("origin", "http://localhost")]).is_err(), "the request names no host");
    }

    #[test]
    fn a_refusal_names_what_was_refused_and_the_setting() {
        let message = |headers| check(headers).unwrap_err().to_string();
        let origin = message(&[("origin", "https://evil.example"), ("host", "localhost")]);
        assert!(origin.contains("\"https://evil.example\"") && origin.contains("`allowed_origins`"), "{origin}");
        let host = message(&[("accept-language", "en"), ("host", "evil.example")]);
        assert!(host.contains("\"evil.example\"") && host.contains("`allowed_hosts`"), "{host}");
        let null = message(&[("origin", "null"), ("host", "localhost")]);
        assert!(null.contains("null") && null.contains("`allowed_origins`"), "{null}");
    }
}
