//! A store named on the command line.

use std::fmt;
use std::str::FromStr;

use super::backend::{Backend, BuiltIn};
use super::clickhouse_url::ClickHouseUrl;
use super::settings::Config;
use reflow_tracing::storage::PostgresConfig;

/// A store as one text: `memory:`, `sqlite:PATH`, `postgresql://..`, `clickhouse://..`, `plugin:NAME`. All other settings
/// of the store come from the configuration. `Display` and `Debug` omit passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`; `sqlite:` for the file in the configuration.
    Sqlite(Option<String>),
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; `postgresql:` for the URL in the configuration.
    Postgres(Option<Secret>),
    /// `clickhouse://USER:PASSWORD@HOST:PORT/DATABASE`, with `?secure=true` for TLS; `clickhouse:` for the database in the
    /// configuration.
    ClickHouse(Option<ClickHouseUrl>),
    /// `plugin:NAME`
    Plugin(String),
}

/// A URL that may hold a password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password of a URL that can't be parsed may be anywhere in it.
        let parsed = url::Url::parse(&self.0).ok().filter(|_| problem_of(&self.0).is_none());
        let Some(mut url) = parsed else {
            return f.write_str(self.0.split_once("://").map_or("..", |(scheme, _)| scheme));
        };
        // Fails only for a URL without a host, which has no password there.
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

/// What is wrong with a URL of PostgreSQL, without any part of it.
fn problem_of(url: &str) -> Option<String> {
    let config = PostgresConfig { connection_url: url.to_owned(), ..PostgresConfig::default() };
    config.check().err().map(|error| error.to_string())
}

const FORMS: &str = "a store is `sqlite:PATH`, `postgresql://USER@HOST/DATABASE`, `clickhouse://USER@HOST:PORT/DATABASE`, \
                     `plugin:NAME` or `memory:`; set everything else in the configuration";

impl FromStr for StorageUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once(':') else { return Err(FORMS.into()) };
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err("`memory:` is a new, empty store; nothing may follow it".into()),
            // Other programs write `sqlite:///absolute/path` and `sqlite://relative/path`.
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                Ok(Self::Sqlite((!path.is_empty()).then(|| path.to_owned())))
            }
            "postgresql" | "postgres" => match rest {
                "" => Ok(Self::Postgres(None)),
                _ if rest.starts_with("//") => match problem_of(text) {
                    None => Ok(Self::Postgres(Some(Secret(text.to_owned())))),
                    Some(problem) => Err(problem),
                },
                _ => Err(FORMS.into()),
            },
            "clickhouse" if rest.is_empty() => Ok(Self::ClickHouse(None)),
            "clickhouse" => Ok(Self::ClickHouse(Some(text.parse()?))),
            "plugin" if rest.is_empty() => {
                Err("`plugin:` needs the NAME of a plugin, as in `[plugins.NAME]` of the configuration".into())
            }
            "plugin" => Ok(Self::Plugin(rest.to_owned())),
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
            Self::Postgres(Some(url)) => url.fmt(f),
            Self::ClickHouse(None) => f.write_str("clickhouse:"),
            Self::ClickHouse(Some(url)) => url.fmt(f),
            Self::Plugin(name) => write!(f, "plugin:{name}"),
        }
    }
}

/// Without passwords.
impl fmt::Debug for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StorageUrl {
    /// The store that the configuration names.
    pub fn configured(config: &Config) -> Self {
        match &config.storage.backend {
            Backend::BuiltIn(BuiltIn::Memory) => Self::Memory,
            Backend::BuiltIn(BuiltIn::Sqlite) => Self::Sqlite(None),
            Backend::BuiltIn(BuiltIn::Postgres) => Self::Postgres(None),
            Backend::BuiltIn(BuiltIn::ClickHouse) => Self::ClickHouse(None),
            Backend::Plugin(name) => Self::Plugin(name.to_string()),
        }
        .complete(config)
    }

    /// Fills in from the configuration what the text left out.
    #[must_use]
    pub fn complete(self, config: &Config) -> Self {
        match self {
            Self::Sqlite(None) => Self::Sqlite(Some(config.storage.sqlite.database_path.clone())),
            Self::Postgres(None) => Self::Postgres(Some(Secret(config.storage.postgres.connection_url.clone()))),
            Self::ClickHouse(None) => Self::ClickHouse(ClickHouseUrl::configured(&config.storage.clickhouse)),
            other => other,
        }
    }

    /// The configuration with this store in place of the one that it names.
    #[must_use]
    pub fn choose(&self, mut config: Config) -> Config {
        config.storage.backend = match self {
            Self::Memory => Backend::BuiltIn(BuiltIn::Memory),
            Self::Sqlite(path) => {
                if let Some(path) = path {
                    config.storage.sqlite.database_path.clone_from(path);
                }
                Backend::BuiltIn(BuiltIn::Sqlite)
            }
            Self::Postgres(url) => {
                if let Some(Secret(url)) = url {
                    config.storage.postgres.connection_url.clone_from(url);
                }
                Backend::BuiltIn(BuiltIn::Postgres)
            }
            Self::ClickHouse(url) => {
                if let Some(url) = url {
                    url.apply(&mut config.storage.clickhouse);
                }
                Backend::BuiltIn(BuiltIn::ClickHouse)
            }
            Self::Plugin(name) => Backend::Plugin(name.as_str().into()),
        };
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> StorageUrl {
        text.parse().unwrap()
    }

    #[test]
    fn each_kind_of_store_has_a_url() {
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
        ] {
            let url = parse(text);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("secret"));
        }
        for text in
            ["postgresql://me:secret@[::/d", "postgresql://me:secret@h:99999999/d", "postgresql://me:12/secret@h/d"]
        {
            let problem = text.parse::<StorageUrl>().unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
            assert_eq!(Secret(text.into()).to_string(), "postgresql");
        }
        for text in ["clickhouse://me:12/secret@h/d", "clickhouse://me:secret#@h/d", "clickhouse://me:secret?@h/d"] {
            assert!(!text.parse::<StorageUrl>().unwrap_err().contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_clickhouse_url_names_the_server_the_user_and_the_database() {
        for (text, url, who, database) in [
            ("clickhouse://h/traces", "http://h:8123", (None, None), "traces"),
            ("clickhouse://me:s%40cret@h:1/my%20own", "http://h:1", (Some("me"), Some("s@cret")), "my own"),
            ("clickhouse://me@[::1]/d?secure=true", "https://[::1]:8443", (Some("me"), None), "d"),
        ] {
            let chosen = parse(text).choose(Config::default()).storage;
            assert_eq!((chosen.backend.name(), chosen.clickhouse.url.as_str()), ("clickhouse", url), "{text}");
            assert_eq!((chosen.clickhouse.username.as_deref(), chosen.clickhouse.password.as_deref()), who, "{text}");
            assert_eq!(chosen.clickhouse.database, database, "{text}");
        }
        let mut config = Config::default();
        config.storage.clickhouse.password = Some("secret".into());
        config.storage.clickhouse.database = "my own".into();
        let configured = parse("clickhouse:").complete(&config);
        assert_eq!(configured.to_string(), "clickhouse://localhost:8123/my%20own");
        assert_eq!(configured.choose(config.clone()).storage.clickhouse, config.storage.clickhouse);
        // Another server does not get the configured password.
        let same = parse("clickhouse://localhost/d").choose(config.clone()).storage.clickhouse;
        assert_eq!((same.password.as_deref(), same.database.as_str()), (Some("secret"), "d"));
        let other = parse("clickhouse://other/d").choose(config).storage.clickhouse;
        assert_eq!(other.password, None);
    }

    #[test]
    fn equal_clickhouse_databases_are_equal_however_they_are_written() {
        let mut config = Config::default();
        config.storage.clickhouse.url = "HTTP://LOCALHOST:8123/".into();
        config.storage.clickhouse.database = "my_own".into();
        let configured = parse("clickhouse:").complete(&config);
        assert_eq!(configured, parse("clickhouse://localhost/my%5Fown"));
        assert_eq!(configured.to_string(), "clickhouse://localhost:8123/my_own");
        config.storage.clickhouse.url = "http://proxy/clickhouse".into();
        let unchanged = parse("clickhouse:").complete(&config);
        assert_eq!(unchanged, StorageUrl::ClickHouse(None));
        assert_eq!(unchanged.choose(config.clone()).storage.clickhouse, config.storage.clickhouse);
    }

    #[test]
    fn a_store_is_chosen_with_the_other_settings_of_the_configuration() {
        let mut config = Config::default();
        config.storage.sqlite.cache_size_mb = 7;
        let chosen = parse("sqlite:x.db").choose(config.clone());
        assert_eq!((chosen.storage.backend.name(), chosen.storage.sqlite.cache_size_mb), ("sqlite", 7));
        assert_eq!(chosen.storage.sqlite.database_path, "x.db");
        assert_eq!(parse("plugin:redis").choose(config.clone()).storage.backend.name(), "redis");
        let chosen = parse("postgresql://h/d").choose(config.clone());
        assert_eq!(chosen.storage.postgres.connection_url, "postgresql://h/d");
        assert_eq!(StorageUrl::configured(&config).to_string(), "sqlite:traces.db");
    }
}
