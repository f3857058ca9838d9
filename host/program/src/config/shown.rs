//! What an error shows of a configuration: where it is, and nothing that may be a password.

use std::fmt::Write as _;

use super::suggestion;

/// An error of TOML in `text`: the line with its name and a plain value, and the problem.
pub(super) fn error(text: &str, error: &toml::de::Error) -> String {
    let message = without_value(error.message().trim_end());
    let mut shown = String::new();
    if let Some(span) = error.span() {
        let start = span.start.min(text.len());
        let before = text.get(..start).unwrap_or_default();
        let (line, begin) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |end| end + 1));
        let column = before[begin..].chars().count() + 1;
        let whole = text[begin..].lines().next().unwrap_or_default();
        // Writing to a string can't fail.
        let _ = write!(shown, "TOML parse error at line {line}, column {column}\n{line} | {}\n", visible(whole));
    }
    shown + &message + &suggestion::for_error(&message)
}

/// A line without values that may be secret: texts, and what is not a value.
fn visible(line: &str) -> String {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ' ' | '\t');
    let trimmed = line.trim();
    if let Some(table) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        && table.chars().all(|letter| is_of_name(letter) || "[]\"/".contains(letter))
    {
        return trimmed.into();
    }
    match trimmed.split_once('=') {
        Some((name, value)) if name.chars().all(is_of_name) => {
            let value = value.trim();
            let is_plain = |letter: char| letter.is_ascii_digit() || "+-._".contains(letter);
            let is_secret = ["password", "secret", "url", "key", "token"].iter().any(|part| name.contains(part));
            let is_shown = !is_secret && (matches!(value, "true" | "false") || value.chars().all(is_plain));
            format!("{} = {}", name.trim(), if is_shown { value } else { ".." })
        }
        _ => "..".into(),
    }
}

/// serde's message without a value that was found in place of one of another type, and without anything like a URL.
fn without_value(message: &str) -> String {
    let message = match message.rsplit_once(", expected ") {
        Some((found, expected)) if message.starts_with("invalid type: ") || message.starts_with("invalid value: ") => {
            let kind = found.split('"').next().unwrap_or_default().split('`').next().unwrap_or_default();
            let is_number = ["integer", "floating point", "boolean"].iter().any(|number| kind.contains(number));
            // Where a text is expected, a number may be a password.
            let is_number = is_number && !expected.starts_with("a string");
            let found = if is_number { found } else { kind.trim_end() };
            format!("{found}, expected {expected}")
        }
        _ => message.to_owned(),
    };
    match message.contains("://") && message.contains('@') {
        true => "the value is not valid".into(),
        false => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        error(text, &toml::from_str::<crate::config::Config>(text).unwrap_err())
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in [
            "[storage.postgres]\nconnection_url = \"postgresql://u:hunter2@h/d\" x",
            "[storage.postgres]\nconnection_url = \"postgresql://u:hunter2@h/d",
            "[storage.postgres]\nconnection_url = 'postgresql://u:hunter2@h/d\"",
            "[storage.postgres]\nconnection_url = postgresql://u:hunter2@h/d",
            "[storage.postgres]\nconnection_url \"postgresql://u:hunter2@h/d\"",
            "[storage.postgres]\nconnection_url: \"postgresql://u:hunter2@h/d?a=b\"",
            "[storage.postgres]\nconnection_ur = \"postgresql://u:hunter2@h/d\"",
            "[storage.postgres]\nmax_connections = \"postgresql://u:hunter2@h/d\"",
            "[storage]\npostgres = \"postgresql://u:hunter2@h/d\"",
            "[storage]\npostgres = \"postgresql://u:a\\\", expected hunter2@h/d\"",
            "storage = \"hunter2\"",
            "[storage.clickhouse]\npassword = \"hunter2\\q\"",
            "[storage.clickhouse]\npasword = \"hunter2\"",
            "[storage.clickhouse]\npassword = [\"hunter2\"]",
            "[plugins.p]\ngrants = { sql = { default = \"mysql://u:hunter2@h/d\" }",
            "[plugins.p]\ngrants = { sql = \"mysql://u:hunter2@h/d\" }",
            "[plugins.p]\ngrants = { sqll = { default = \"mysql://u:hunter2@h/d\" } }",
            "[plugins.p]\ngrants = { redis = { default = { ul = \"redis://:hunter2@h\" } } }",
            "[plugins.p]\ngrants = { http = [{ origin = \"https://h\", headrs = { authorization = \"hunter2\" } }] }",
            "[server]\nallowed_origins = [\"https://u:hunter2@h\"]",
            "postgresql://u:hunter2@h/d",
            "[storage.postgres]\nconnection_url = \"\"\"\npostgresql://u:hunter2@h/d\n",
            "\"postgresql://u:hunter2@h/d\" = 1",
            "[\"postgresql://u:hunter2@h/d\"]",
        ] {
            let shown = shown(text);
            assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        }
    }

    #[test]
    fn a_plain_value_is_shown() {
        assert_eq!(visible("  port = 70000"), "port = 70000");
        assert_eq!(visible("enabled = true"), "enabled = true");
        assert_eq!(visible("[plugins.\"a/b\"]"), "[plugins.\"a/b\"]");
        assert_eq!(visible("password = 12345"), "password = ..");
    }
}
