//! A store named on the command line.

use std::fmt;
use std::str::FromStr;

use super::Config;

/// A store as one text: `memory:`, `sqlite:PATH`, `postgresql://..`, `clickhouse://..`, `plugin:NAME`. All other settings of the store are those
/// of the configuration. Displays without passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`; `sqlite:` for the file that the configuration names.
    Sqlite(Option<String>),
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; `postgresql:` for the URL in the configuration.
    Postgres(Option<Secret>),
    /// `clickhouse://USER:PASSWORD@HOST:PORT/DATABASE`, with `?secure=true` for TLS; `clickhouse:` for what the configuration
    /// says.
    ClickHouse(Option<Secret>),
    /// `plugin:NAME`
    Plugin(String),
}

/// A URL that may hold a password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(mut url) = url::Url::parse(&self.0) else {
            // What can't be taken apart may have its password anywhere.
            return f.write_str(self.0.split_once("://").map_or("..", |(scheme, _)| scheme));
        };
        // It has a host, or there is no password in this place.
        let _ = url.set_password(None);
        if url.query().is_some() {
            let pairs: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| name != "password").collect();
            url.query_pairs_mut().clear().extend_pairs(pairs);
            if url.query() == Some("") {
                url.set_query(None);
            }
        }
        url.fmt(f)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const FORMS: &str = "a store is `sqlite:PATH`, `postgresql://USER@HOST/DATABASE`, `clickhouse://USER@HOST:PORT/DATABASE`, \
                     `plugin:NAME` or `memory:`; all else about it is in the configuration";

/// What a `clickhouse://` URL says, as the settings have it.
struct ClickHouseParts {
    url: String,
    username: Option<String>,
    password: Option<String>,
    database: String,
}

impl ClickHouseParts {
    fn of(text: &str) -> Option<Self> {
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(String::from);
        let url = url::Url::parse(text).ok()?;
        let secure = match url.query() {
            None | Some("secure=false") => false,
            Some("secure=true") => true,
            Some(_) => return None,
        };
        let (scheme, usual) = if secure { ("https", 8443) } else { ("http", 8123) };
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let database = decoded(url.path().strip_prefix('/')?)?;
        if database.is_empty() || url.fragment().is_some() {
            return None;
        }
        Some(Self {
            url: format!("{scheme}://{host}:{}", url.port().unwrap_or(usual)),
            username: match url.username() {
                "" => None,
                username => Some(decoded(username)?),
            },
            password: match url.password() {
                None => None,
                Some(password) => Some(decoded(password)?),
            },
            database,
        })
    }
}

impl FromStr for StorageUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once(':') else { return Err(FORMS.into()) };
        let given = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err("`memory:` takes nothing more: it is a new, empty store".into()),
            // `sqlite:///absolute/path` and `sqlite://relative/path` are how others write it.
            "sqlite" => Ok(Self::Sqlite(given(rest.strip_prefix("//").unwrap_or(rest)))),
            "postgresql" | "postgres" => match given(rest) {
                None => Ok(Self::Postgres(None)),
                Some(rest) if rest.starts_with("//") => Ok(Self::Postgres(Some(Secret(text.to_owned())))),
                Some(_) => Err(FORMS.into()),
            },
            "clickhouse" => match given(rest) {
                None => Ok(Self::ClickHouse(None)),
                Some(_) if ClickHouseParts::of(text).is_some() => Ok(Self::ClickHouse(Some(Secret(text.to_owned())))),
                Some(_) => Err("a ClickHouse database is `clickhouse://USER:PASSWORD@HOST:PORT/DATABASE`, with \
                                `?secure=true` for TLS; its port is that of HTTP"
                    .into()),
            },
            "plugin" => match given(rest) {
                Some(name) => Ok(Self::Plugin(name)),
                None => {
                    Err("`plugin:NAME` is without its NAME: that of the plugin's table in the configuration".into())
                }
            },
            _ => Err(FORMS.into()),
        }
    }
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.as_deref().unwrap_or_default()),
            Self::Postgres(None) => f.write_str("postgresql:"),
            Self::ClickHouse(None) => f.write_str("clickhouse:"),
            Self::Postgres(Some(url)) | Self::ClickHouse(Some(url)) => url.fmt(f),
            Self::Plugin(name) => write!(f, "plugin:{name}"),
        }
    }
}

impl StorageUrl {
    /// The store that the configuration names.
    pub fn configured(config: &Config) -> Self {
        match config.storage.backend.as_str() {
            "memory" => Self::Memory,
            "sqlite" => Self::Sqlite(None),
            "postgres" => Self::Postgres(None),
            "clickhouse" => Self::ClickHouse(None),
            name => Self::Plugin(name.to_owned()),
        }
        .complete(config)
    }

    /// With what the configuration says where the text said nothing.
    #[must_use]
    pub fn complete(self, config: &Config) -> Self {
        match self {
            Self::Sqlite(None) => Self::Sqlite(Some(config.storage.sqlite.database_path.clone())),
            Self::Postgres(None) => Self::Postgres(Some(Secret(config.storage.postgres.connection_url.clone()))),
            Self::ClickHouse(None) => Self::ClickHouse(url_of(&config.storage.clickhouse).map(Secret)),
            other => other,
        }
    }

    /// The configuration with this store in place of the one that it names.
    #[must_use]
    pub fn choose(&self, mut config: Config) -> Config {
        config.storage.backend = match self {
            Self::Memory => "memory",
            Self::Sqlite(path) => {
                if let Some(path) = path {
                    config.storage.sqlite.database_path.clone_from(path);
                }
                "sqlite"
            }
            Self::Postgres(url) => {
                if let Some(Secret(url)) = url {
                    config.storage.postgres.connection_url.clone_from(url);
                }
                "postgres"
            }
            Self::ClickHouse(url) => {
                if let Some(parts) = url.as_ref().and_then(|Secret(url)| ClickHouseParts::of(url)) {
                    let chosen = &mut config.storage.clickhouse;
                    let own = url_of(chosen).and_then(|url| ClickHouseParts::of(&url));
                    let same =
                        own.is_some_and(|own| (own.url, own.username) == (parts.url.clone(), parts.username.clone()));
                    // A password in the configuration is not for another server.
                    chosen.password = parts.password.or(chosen.password.take().filter(|_| same));
                    (chosen.url, chosen.username, chosen.database) = (parts.url, parts.username, parts.database);
                }
                "clickhouse"
            }
            Self::Plugin(name) => name,
        }
        .to_owned();
        config
    }
}

/// The URL of what the configuration says, without the password; `None` when it says nothing that can be one.
fn url_of(config: &reflow_tracing::storage::ClickHouseConfig) -> Option<String> {
    let (scheme, rest) = config.url.split_once("://")?;
    let mut url = url::Url::parse(&format!("clickhouse://{}", rest.trim_end_matches('/'))).ok()?;
    if !url.path().is_empty() {
        return None;
    }
    if url.port().is_none() {
        url.set_port(Some(if scheme == "https" { 443 } else { 80 })).ok()?;
    }
    url.set_username(config.username.as_deref().unwrap_or_default()).ok()?;
    url.set_path(&format!(
        "/{}",
        percent_encoding::utf8_percent_encode(&config.database, percent_encoding::NON_ALPHANUMERIC)
    ));
    url.set_query((scheme == "https").then_some("secure=true"));
    let url = String::from(url);
    ClickHouseParts::of(&url).map(|_| url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> StorageUrl {
        text.parse().unwrap()
    }

    #[test]
    fn each_kind_of_store_has_a_form() {
        assert_eq!(parse("memory:"), StorageUrl::Memory);
        for text in ["sqlite:/var/a.db", "sqlite:///var/a.db"] {
            assert_eq!(parse(text), StorageUrl::Sqlite(Some("/var/a.db".into())), "{text}");
        }
        assert_eq!(parse("sqlite:a:b.db"), StorageUrl::Sqlite(Some("a:b.db".into())));
        assert_eq!(parse("sqlite:"), StorageUrl::Sqlite(None));
        assert_eq!(parse("plugin:redis"), StorageUrl::Plugin("redis".into()));
        assert_eq!(parse("postgresql:"), StorageUrl::Postgres(None));
        assert_eq!(parse("postgres://me@h/d").to_string(), "postgres://me@h/d");
        assert_eq!(parse("clickhouse:"), StorageUrl::ClickHouse(None));
        assert_eq!(parse("clickhouse://me@h:1/d").to_string(), "clickhouse://me@h:1/d");
        for text in [
            "",
            "traces.db",
            "memory:x",
            "plugin:",
            "mysql://x",
            "postgresql:traces",
            "clickhouse:x",
            "clickhouse://h:1",
            "clickhouse://h/d?secure=maybe",
            "C:\\traces.db",
        ] {
            assert!(text.parse::<StorageUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for (text, shown) in [
            ("postgresql://me:secret@h:1/d?sslmode=require", "postgresql://me@h:1/d?sslmode=require"),
            ("postgresql://me@h/d?password=secret", "postgresql://me@h/d"),
            ("postgresql://me@h/d?password=secret&sslmode=require", "postgresql://me@h/d?sslmode=require"),
            ("clickhouse://me:secret@h:1/d?secure=true", "clickhouse://me@h:1/d?secure=true"),
            ("postgresql://me:secret@[::/d", "postgresql"),
            ("postgresql://me:secret@h:99999999/d", "postgresql"),
        ] {
            let url = parse(text);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn a_clickhouse_url_says_where_and_who() {
        for (text, url, who, database) in [
            ("clickhouse://h/traces", "http://h:8123", (None, None), "traces"),
            ("clickhouse://me:s%40cret@h:1/my%20own", "http://h:1", (Some("me"), Some("s@cret")), "my own"),
            ("clickhouse://me@[::1]/d?secure=true", "https://[::1]:8443", (Some("me"), None), "d"),
        ] {
            let chosen = parse(text).choose(Config::default()).storage;
            assert_eq!((chosen.backend.as_str(), chosen.clickhouse.url.as_str()), ("clickhouse", url), "{text}");
            assert_eq!((chosen.clickhouse.username.as_deref(), chosen.clickhouse.password.as_deref()), who, "{text}");
            assert_eq!(chosen.clickhouse.database, database, "{text}");
        }
        let mut config = Config::default();
        config.storage.clickhouse.password = Some("secret".into());
        config.storage.clickhouse.database = "my own".into();
        let configured = parse("clickhouse:").complete(&config);
        assert_eq!(configured.to_string(), "clickhouse://localhost:8123/my%20own");
        assert_eq!(configured.choose(config.clone()).storage.clickhouse, config.storage.clickhouse);
        // Another server is not told the password of the configured one.
        let other = parse("clickhouse://other/d").choose(config).storage.clickhouse;
        assert_eq!(other.password, None);
    }

    #[test]
    fn a_store_is_chosen_with_the_other_settings_of_the_configuration() {
        let mut config = Config::default();
        config.storage.sqlite.cache_size_mb = 7;
        let chosen = parse("sqlite:x.db").choose(config.clone());
        assert_eq!((chosen.storage.backend.as_str(), chosen.storage.sqlite.cache_size_mb), ("sqlite", 7));
        assert_eq!(chosen.storage.sqlite.database_path, "x.db");
        assert_eq!(parse("plugin:redis").choose(config.clone()).storage.backend, "redis");
        let chosen = parse("postgresql://h/d").choose(config.clone());
        assert_eq!(chosen.storage.postgres.connection_url, "postgresql://h/d");
        assert_eq!(StorageUrl::configured(&config).to_string(), "sqlite:traces.db");
    }
}
