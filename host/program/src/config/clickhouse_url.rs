use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reflow_tracing::storage::ClickHouseConfig;

/// What percent-encoding leaves alone: the characters that RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A ClickHouse database, with the user and the password. `Display` omits the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ClickHouseUrl {
    server: ClickHouseServer,
    username: Option<String>,
    password: Option<String>,
    database: String,
}

/// The HTTP interface of a ClickHouse server.
#[derive(Clone, PartialEq, Eq)]
struct ClickHouseServer {
    tls: bool,
    host: String,
    port: u16,
}

impl ClickHouseServer {
    /// The server that the setting `url` names; `None` when it has a path or is not a URL of HTTP.
    fn configured(url: &str) -> Option<Self> {
        let url = url::Url::parse(url).ok()?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return None;
        }
        Some(Self { tls, host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// The setting `url` for this server.
    fn url(&self) -> String {
        format!("{}://{}:{}", if self.tls { "https" } else { "http" }, self.host, self.port)
    }
}

impl ClickHouseUrl {
    fn parse(text: &str) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let url = url::Url::parse(text).ok()?;
        let tls = match url.query() {
            None | Some("secure=false") => false,
            Some("secure=true") => true,
            Some(_) => return None,
        };
        let host = url.host_str().filter(|host| !host.is_empty())?.to_owned();
        let port = url.port().unwrap_or(if tls { 8443 } else { 8123 });
        let database = decoded(url.path().strip_prefix('/')?)?;
        // A `/` that is not encoded may be of the password, and so the rest of it.
        if database.is_empty() || url.fragment().is_some() || url.path()[1..].contains(['/', '@']) {
            return None;
        }
        let username = match url.username() {
            "" => None,
            username => Some(decoded(username)?),
        };
        let password = match url.password() {
            None => None,
            Some(password) => Some(decoded(password)?),
        };
        Some(Self { server: ClickHouseServer { tls, host, port }, username, password, database })
    }

    /// The database in the configuration, without the password; `None` when no URL can express it.
    pub(super) fn configured(config: &ClickHouseConfig) -> Option<Self> {
        if config.database.is_empty() {
            return None;
        }
        Some(Self {
            server: ClickHouseServer::configured(&config.url)?,
            username: config.username.clone().filter(|username| !username.is_empty()),
            password: None,
            database: config.database.clone(),
        })
    }

    /// Puts this database into the configuration.
    pub(super) fn apply(&self, config: &mut ClickHouseConfig) {
        let configured = Self::configured(config);
        let is_same_login = configured
            .is_some_and(|configured| (&configured.server, &configured.username) == (&self.server, &self.username));
        if !is_same_login {
            // The configured password is for another server or user.
            config.password = None;
            config.url = self.server.url();
            config.username.clone_from(&self.username);
        }
        if self.password.is_some() {
            config.password.clone_from(&self.password);
        }
        config.database.clone_from(&self.database);
    }
}

impl fmt::Display for ClickHouseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server: ClickHouseServer { tls, host, port }, username, database, .. } = self;
        f.write_str("clickhouse://")?;
        if let Some(username) = username {
            write!(f, "{}@", utf8_percent_encode(username, ENCODED))?;
        }
        write!(f, "{host}:{port}/{}", utf8_percent_encode(database, ENCODED))?;
        f.write_str(if *tls { "?secure=true" } else { "" })
    }
}

impl FromStr for ClickHouseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or(
            "a ClickHouse database is `clickhouse://USER:PASSWORD@HOST:PORT/DATABASE`, with `?secure=true` for TLS; PORT is \
             the HTTP port",
        )
    }
}
