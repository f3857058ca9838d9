//! URLs of PostgreSQL databases.

use std::borrow::Cow;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// The parameters that mean something here.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Parameters that other programs read, without effect here and harmless.
const IGNORED: &[&str] =
    &["connect_timeout", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"];

/// Parameters that other programs read, and that ask for what this one does not do.
const UNSUPPORTED: &[&str] = &[
    "channel_binding",
    "load_balance_hosts",
    "passfile",
    "pgbouncer",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "sslcrl",
    "sslnegotiation",
    "sslpassword",
    "ssl_min_protocol_version",
    "target_session_attrs",
];

/// The values of `sslmode`.
const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parses `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`. The host may be an IPv6 address in brackets. It may be missing: then
/// a parameter names it, or it is the default of `psql`.
///
/// Errors say what is wrong without any part of the URL that could be a password.
pub fn parse(url: &str) -> Result<PgConnectOptions, String> {
    let url = url.trim();
    let (_, after) = ["postgresql://", "postgres://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme).map(|after| (scheme, after)))
        .ok_or("it must begin with `postgresql://`")?;
    let split = |text: &'_ str, at: char| text.find(at).unwrap_or(text.len());
    let (before, query) = after.split_at(split(after, '?'));
    if after.contains('#') {
        return Err(encode('#', "%23"));
    }
    let (authority, path) = before.split_at(split(before, '/'));
    if path.contains('@') {
        return Err(encode('/', "%2F"));
    }
    let query = checked_parameters(query.strip_prefix('?').unwrap_or_default())?;
    let login = authority.rfind('@').map(|at| &authority[..at]);
    let host = login.map_or(authority, |login| &authority[login.len() + 1..]);
    let mut url = String::from("postgresql://");
    let mut parameters = query;
    if host.is_empty() || host.starts_with(':') {
        // A URL must not have a user without a host, but a user as a parameter.
        let (user, password) = login.unwrap_or_default().split_once(':').unwrap_or((login.unwrap_or_default(), ""));
        for (name, value) in [("user", user), ("password", password), ("port", host.trim_start_matches(':'))] {
            if !value.is_empty() {
                parameters.insert(0, format!("{name}={}", as_parameter(value)));
            }
        }
    } else {
        url += authority;
    }
    url += path;
    if !parameters.is_empty() {
        url += &format!("?{}", parameters.join("&"));
    }
    // Values are binary, so digits of texts do not matter, and PgBouncer refuses this parameter.
    let options = PgConnectOptions::from_str(&url).map_err(|error| problem(&error))?.extra_float_digits(None);
    // The driver takes the brackets for a part of the name.
    let address = options.get_host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::to_owned);
    Ok(match address {
        Some(address) => options.host(&address),
        None => options,
    })
}

/// A part of the login as a parameter, where more characters have a meaning.
fn as_parameter(text: &str) -> Cow<'_, str> {
    if text.contains(['+', '&', '=']) {
        text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D").into()
    } else {
        text.into()
    }
}

/// The parameters that mean something. Fails on unknown ones, which may be misspelt, or the rest of a password.
fn checked_parameters(query: &str) -> Result<Vec<String>, String> {
    let mut parameters = Vec::new();
    for (index, parameter) in query.split('&').enumerate().filter(|(_, parameter)| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        let is_setting = name.strip_prefix("options[").is_some_and(|rest| rest.ends_with(']'))
            || name.to_ascii_lowercase().starts_with("options%5b");
        let value = parameter.split_once('=').map_or("", |(_, value)| value);
        if ["sslmode", "ssl-mode"].contains(&name) && !SSL_MODES.contains(&value) {
            return Err(format!("`{name}` must be one of {}", SSL_MODES.join(", ")));
        }
        if name == "statement-cache-capacity" && value.parse::<u16>().is_err() {
            return Err(format!("`{name}` must be 0 to {}", u16::MAX));
        }
        if PARAMETERS.contains(&name) || is_setting {
            parameters.push(parameter.to_owned());
        } else if UNSUPPORTED.contains(&name) {
            return Err(format!("the parameter `{name}` is not supported; remove it"));
        } else if !IGNORED.contains(&name) {
            return Err(format!(
                "its parameter number {} is unknown (if it belongs to a password, write `&` there as %26 and `?` as %3F); the known \
                 ones are {}",
                index + 1,
                PARAMETERS.join(", ")
            ));
        }
    }
    Ok(parameters)
}

fn encode(character: char, encoded: &str) -> String {
    format!("it has a `{character}` that ends the part before it; in a user or a password, write {encoded}")
}

/// The driver's problem, without the prefix that says nothing.
fn problem(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(problem) => problem.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> PgConnectOptions {
        parse(url).unwrap_or_else(|problem| panic!("{url}: {problem}"))
    }

    #[test]
    fn every_form_of_a_host_is_understood() {
        for (url, host, port) in [
            ("postgresql://u:p@h:1/d", "h", 1),
            ("postgres://u@127.0.0.1/d", "127.0.0.1", 5432),
            ("postgresql://u@[::1]:5433/d", "::1", 5433),
            ("postgresql://u@[fe80::1]/d", "fe80::1", 5432),
            ("postgresql:///d?user=u&hostaddr=::1&port=7", "::1", 7),
            (" postgresql://u@h/d?connect_timeout=3\n", "h", 5432),
        ] {
            let options = parsed(url);
            assert_eq!((options.get_host(), options.get_port()), (host, port), "{url}");
            assert_eq!((options.get_username(), options.get_database()), ("u", Some("d")), "{url}");
        }
    }

    #[test]
    fn a_socket_needs_no_host() {
        for url in [
            "postgresql://u:p%2B+&=1@/d?host=/run/pg",
            "postgresql://u@:7/d?host=/run/pg",
            "postgresql:///d?host=/run/pg&user=u",
            "postgresql://u@%2Frun%2Fpg/d",
            "postgresql://u@localhost/d?host=/run/pg",
        ] {
            let options = parsed(url);
            assert_eq!(options.get_socket().map(|socket| socket.to_str().unwrap()), Some("/run/pg"), "{url}");
            assert_eq!((options.get_username(), options.get_database()), ("u", Some("d")), "{url}");
        }
        assert_eq!(parsed("postgresql://u@:7/d?host=/run/pg").get_port(), 7);
    }

    #[test]
    fn a_refusal_shows_no_part_of_the_url() {
        for url in [
            "postgresql://u:hunter2#secret@h/d",
            "postgresql://u:hunter2/secret@h/d",
            "postgresql://u:12/secret@h/d",
            "postgresql://u:12?secret@h/d",
            "postgresql://u:hunter2?secret@h/d",
            "postgresql://u:hunter2%secret@[h/d",
            "postgresql://u@h/d?password=a&secret=b",
            "postgresql://u@h/d?password=a&secret",
            "postgresql://u:secret@h:99999/d",
            "postgresql://u:secret@h:x/d",
            "postgresql://u:secret@h/d?sslmode=secret%",
            "postgresq://u:secret@h/d",
            "user=u password=secret",
        ] {
            let problem = parse(url).expect_err(url);
            assert!(!problem.contains("secret") && !problem.contains("hunter2"), "{url}: {problem}");
        }
        assert!(parse("postgresql://h/d?target_session_attrs=any").unwrap_err().contains("`target_session_attrs`"));
        assert!(parse("postgresql://h/d?sslmod=disable").unwrap_err().contains("number 1"));
    }
}
