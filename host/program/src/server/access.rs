//! Which requests are answered: what web pages of strangers could send is refused.
//!
//! A browser lets any page open a WebSocket to any host that it reaches, and says only from where: in the header `Origin`. And an
//! attacker who controls a name can point it to an address of this host ("DNS rebinding"), so that the browser takes what is
//! here for part of the attacker's site: then the header `Host` has that name. Both are looked at, for every path:
//!
//! - An origin is allowed if it is in `allowed_origins`; if it is on the machine itself and so is the host as the request names it;
//!   or if it is the host itself, by a name that is known.
//! - Known are loopback names, IP addresses (nobody can point these elsewhere), what `host` says, the name of the machine, and
//!   what is in `allowed_hosts`. What browsers send must name such a host.
//!
//! Senders that are not browsers name the host as they like, a service in a cluster for example; they can pretend anything anyway, so
//! nothing is gained by refusing them. A WebSocket of a browser always has an `Origin`. Other requests of a browser may have none,
//! and `Sec-Fetch-Site` is only sent to hosts that are encrypted or local, but `Accept-Language` is always there and no page can
//! remove it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::config::{AllowedHost, AllowedOrigin, HostName, ServerConfig};

/// Who may ask the host.
#[derive(Debug, Clone, Default)]
pub struct Access {
    origins: Vec<AllowedOrigin>,
    hosts: Vec<AllowedHost>,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(
        "the origin {0:?} may not use this host: only pages of the machine itself may. To allow it, add it to \
         `allowed_origins` in `[server]` of the configuration"
    )]
    Origin(String),
    #[error(
        "the origin \"null\" may not use this host: it stands for any page without an origin of its own, such as a file or a \
         sandboxed frame. Serve the page from an origin, and add that one to `allowed_origins` in `[server]` of the \
         configuration"
    )]
    NullOrigin,
    #[error(
        "this host is not known by the name {0:?}, which the browser gave it. To allow it, add it to `allowed_hosts` in \
         `[server]` of the configuration"
    )]
    Host(String),
}

impl Access {
    /// As the configuration says.
    pub fn of(config: &ServerConfig) -> Self {
        let own = [Some(config.host.clone()), sysinfo::System::host_name().ok()];
        let own = own.iter().flatten().filter_map(|name| AllowedHost::parse(name));
        Self {
            origins: config.allowed_origins.clone(),
            hosts: config.allowed_hosts.iter().cloned().chain(own).collect(),
        }
    }

    /// Decides about a request to `authority`, the host as the request's target names it if it does.
    fn check(&self, authority: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let named: Vec<_> = authority.map(Into::into).into_iter().chain(text(header::HOST)).collect();
        let known = || match named.iter().find(|name| !self.knows(name)) {
            Some(unknown) => Err(Refusal::Host(unknown.clone().into_owned())),
            None => Ok(()),
        };
        let mut origins = text(header::ORIGIN).peekable();
        if origins.peek().is_none() {
            return if is_from_a_page(headers) { known() } else { Ok(()) };
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
                    let both_local = parsed.host().is_loopback() && host.name().is_loopback();
                    let port = host.port().or(parsed.default_port());
                    both_local || (parsed.host() == host.name() && parsed.port() == port)
                })
            };
            if named.is_empty() || !named.iter().all(|name| is_allowed(name)) {
                return Err(refused());
            }
        }
        Ok(())
    }

    /// Whether a browser that names the host so can't have been misled.
    fn knows(&self, host: &str) -> bool {
        AllowedHost::parse(host).is_some_and(|host| {
            matches!(host.name(), HostName::Address(_))
                || host.name().is_loopback()
                || self.hosts.iter().any(|allowed| allowed.covers(&host))
        })
    }
}

/// Whether a request without an origin may be of a web page.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    // No page can send these by itself, and browsers send an origin with them.
    let is_websocket = headers.contains_key(header::SEC_WEBSOCKET_KEY) && headers.contains_key(header::UPGRADE);
    !is_websocket
        && (headers.contains_key(header::ACCEPT_LANGUAGE)
            || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")))
}

/// Answers with 403 what may not ask.
pub(super) async fn enforce(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    match access.check(authority, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            tracing::info!("a request is refused: {refusal}");
            (StatusCode::FORBIDDEN, format!("refused: {refusal}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn access() -> Access {
        Access::of(&ServerConfig {
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
    fn an_origin_is_allowed_with_the_host_that_it_came_to() {
        for (origin, host, allowed) in [
            // Of the machine itself.
            ("http://localhost:3000", "127.0.0.1:8080", true),
            ("http://127.0.0.1:3000", "localhost:8080", true),
            ("http://app.localhost", "[::1]:8080", true),
            ("http://[::1]:3000", "127.9.9.9:8080", true),
            // A page of the user's machine is a stranger to another one.
            ("http://localhost:3000", "10.0.0.5:8080", false),
            ("http://localhost:3000", "traces.example", false),
            // Strangers.
            ("https://evil.example", "127.0.0.1:8080", false),
            ("https://evil.example", "localhost:8080", false),
            ("http://localhost.evil.example", "localhost:8080", false),
            ("http://notlocalhost", "localhost:8080", false),
            ("http://10.0.0.5", "127.0.0.1:8080", false),
            ("null", "127.0.0.1:8080", false),
            ("", "127.0.0.1:8080", false),
            ("garbage", "127.0.0.1:8080", false),
            // Another name that leads here: rebinding.
            ("http://evil.example:8080", "evil.example:8080", false),
            ("http://localhost:8080", "evil.example:8080", false),
            // What the configuration lists, exactly.
            ("https://dash.example", "127.0.0.1:8080", true),
            ("https://dash.example:443", "traces.example", true),
            ("http://dash.example", "127.0.0.1:8080", false),
            ("https://dash.example:8443", "127.0.0.1:8080", false),
            ("https://a.dash.example", "127.0.0.1:8080", false),
            // The host's own pages, by a known name.
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
    fn what_a_browser_sends_without_an_origin_must_name_a_known_host() {
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
            // curl, Prometheus and the like.
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
        assert!(check(&[("origin", "http://localhost")]).is_err(), "it came to no host");
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
