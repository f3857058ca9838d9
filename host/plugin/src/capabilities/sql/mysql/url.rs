//! URLs of MySQL and MariaDB.

use std::str::FromStr;

use sqlx::mysql::MySqlConnectOptions;

/// The parameters that mean something.
const PARAMETERS: &[&str] = &[
    "charset",
    "collation",
    "socket",
    "sslca",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "sslmode",
    "ssl-mode",
    "statement-cache-capacity",
    "time-zone",
    "timezone",
];

/// The values of `sslmode`.
const SSL_MODES: &[&str] = &["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];

/// Parses `mysql://USER:PASSWORD@HOST:PORT/DATABASE`, or `mariadb://..`. The host may be an IPv6 address in brackets; with
/// `socket`, it may be missing. Errors say what is wrong without any part of the URL that could be a password.
pub(super) fn parse(url: &str) -> Result<MySqlConnectOptions, String> {
    let url = url.trim();
    let after = ["mysql://", "mariadb://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
    let after = after.ok_or("it must begin with `mysql://` or `mariadb://`")?;
    let (before, query) = after.split_once('?').unwrap_or((after, ""));
    let (authority, path) = before.split_at(before.find('/').unwrap_or(before.len()));
    if after.contains('#') || path.contains('@') {
        return Err(
            "it has a `#` or a `/` that ends the part before it; in a user or a password, write %23 and %2F".into()
        );
    }
    for (index, parameter) in query.split('&').enumerate().filter(|(_, parameter)| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !PARAMETERS.contains(&name) {
            return Err(format!(
                "its parameter number {} is unknown (if it belongs to a password, write `&` there as %26 and `?` as %3F); the known \
                 ones are {}",
                index + 1,
                PARAMETERS.join(", ")
            ));
        }
        if ["sslmode", "ssl-mode"].contains(&name) && !SSL_MODES.iter().any(|mode| mode.eq_ignore_ascii_case(value)) {
            return Err(format!("`{name}` must be one of {}", SSL_MODES.join(", ")));
        }
        if name == "statement-cache-capacity" && value.parse::<u16>().is_err() {
            return Err(format!("`{name}` must be 0 to {}", u16::MAX));
        }
    }
    let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (login, host) = match host {
        "" => (login, "localhost"),
        host => (login, host),
    };
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let options = MySqlConnectOptions::from_str(&format!(
        "mysql://{login}{}{host}{path}{query}",
        if login.is_empty() { "" } else { "@" }
    ));
    let options = options.map_err(|error| match error {
        sqlx::Error::Configuration(problem) => problem.to_string(),
        other => other.to_string(),
    })?;
    // The driver takes the brackets for a part of the name.
    let address = options.get_host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::to_owned);
    Ok(match address {
        Some(address) => options.host(&address),
        None => options,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_host_is_understood() {
        for (url, host, port) in [
            ("mysql://u:p@h:1/d", "h", 1),
            ("mariadb://u:p@[::1]:3307/d", "::1", 3307),
            ("mysql://u@/d?socket=/run/s", "localhost", 3306),
            (" mysql://127.0.0.1/d\n", "127.0.0.1", 3306),
        ] {
            let options = parse(url).unwrap_or_else(|problem| panic!("{url}: {problem}"));
            assert_eq!((options.get_host(), options.get_port()), (host, port), "{url}");
            assert_eq!(options.get_database(), Some("d"), "{url}");
        }
    }

    #[test]
    fn a_refusal_shows_no_part_of_the_url() {
        for url in [
            "mysql://u:hunter2#secret@h/d",
            "mysql://u:hunter2/secret@h/d",
            "mysql://u:12/secret@h/d",
            "mysql://u:12?secret@h/d",
            "mysql://u@h/d?sockt=secret",
            "mysql://u@h/d?sslmode=secret%",
            "mysql://u:secret@h:99999/d",
            "mysql://u@h/d?statement-cache-capacity=4000000000",
            "mysq://u:secret@h/d",
        ] {
            let problem = parse(url).expect_err(url);
            assert!(!problem.contains("secret") && !problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
