//! A store named on the command line.

use std::fmt;
use std::str::FromStr;

use super::Config;

/// A store as one text: `memory:`, `sqlite:PATH`, `postgresql://..`, `plugin:NAME`. All other settings of the store are those
/// of the configuration. Displays without passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`; `sqlite:` for the file that the configuration names.
    Sqlite(Option<String>),
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; `postgresql:` for the URL in the configuration.
    Postgres(Option<Secret>),
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

const FORMS: &str = "a store is `sqlite:PATH`, `postgresql://USER@HOST/DATABASE`, `plugin:NAME` or `memory:`; all else \
                     about it is in the configuration";

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
            Self::Postgres(Some(url)) => url.fmt(f),
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
            name => Self::Plugin(name.to_owned()),
        }
        .complete(config)
    }

    /// With what the configuration says where the text said nothing.
    #[must_use]
    pub fn complete(self, config: &Config) -> Self {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(None) => Self::Sqlite(Some(config.storage.sqlite.database_path.clone())),
            #[cfg(feature = "postgres")]
            Self::Postgres(None) => Self::Postgres(Some(Secret(config.storage.postgres.connection_url.clone()))),
            other => {
                let _ = config;
                other
            }
        }
    }

    /// The configuration with this store in place of the one that it names.
    #[must_use]
    pub fn choose(&self, mut config: Config) -> Config {
        config.storage.backend = match self {
            Self::Memory => "memory",
            Self::Sqlite(path) => {
                #[cfg(feature = "sqlite")]
                if let Some(path) = path {
                    config.storage.sqlite.database_path.clone_from(path);
                }
                #[cfg(not(feature = "sqlite"))]
                let _ = path;
                "sqlite"
            }
            Self::Postgres(url) => {
                #[cfg(feature = "postgres")]
                if let Some(Secret(url)) = url {
                    config.storage.postgres.connection_url.clone_from(url);
                }
                #[cfg(not(feature = "postgres"))]
                let _ = url;
                "postgres"
            }
            Self::Plugin(name) => name,
        }
        .to_owned();
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
        for text in ["", "traces.db", "memory:x", "plugin:", "mysql://x", "postgresql:traces", "C:\\traces.db"] {
            assert!(text.parse::<StorageUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for (text, shown) in [
            ("postgresql://me:secret@h:1/d?sslmode=require", "postgresql://me@h:1/d?sslmode=require"),
            ("postgresql://me@h/d?password=secret", "postgresql://me@h/d"),
            ("postgresql://me@h/d?password=secret&sslmode=require", "postgresql://me@h/d?sslmode=require"),
            ("postgresql://me:secret@[::/d", "postgresql"),
            ("postgresql://me:secret@h:99999999/d", "postgresql"),
        ] {
            let url = parse(text);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[cfg(all(feature = "sqlite", feature = "postgres"))]
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
