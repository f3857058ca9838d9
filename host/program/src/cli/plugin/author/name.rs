//! Names of plugins.

use crate::config::BuiltIn;

/// The settings of `[plugins]`, which are beside the tables of plugins.
const SETTINGS: [&str; 8] = [
    "dir",
    "cache_dir",
    "reload",
    "max_connections",
    "compile_memory_mb",
    "compile_cpu_s",
    "require_signed",
    "trusted_keys",
];

/// The name must be valid for a file and a backend.
pub(super) fn parse_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(allowed) || name.len() > 64 {
        Err("expected a lower-case letter, then up to 63 of a-z, 0-9, `-` and `_`".into())
    } else if BuiltIn::from_name(name).is_some() {
        Err("it is a built-in backend".into())
    } else if SETTINGS.contains(&name) {
        Err("it is a setting of [plugins] in the configuration".into())
    } else {
        Ok(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_backend_cannot_have_are_refused() {
        for name in ["", "9lives", "Ledger", "a/b", "..", "a b", "memory", "sqlite", "dir", "l\u{e4}dger"] {
            assert!(parse_name(name).is_err(), "{name}");
        }
        for name in ["ledger", "my-store_2"] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
    }
}
