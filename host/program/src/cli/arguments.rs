//! The arguments of the process. Errors about them show none that may hold a password.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use super::output;

/// Parses the arguments. The error is the exit code: the help was printed, or what is wrong.
pub(super) fn parse<P: Parser>() -> Result<P, ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    P::try_parse_from(&arguments).map_err(|error| {
        if !error.use_stderr() {
            // The reader may be gone; ignore the error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let given: Vec<_> = arguments.iter().skip(1).map(|argument| argument.to_string_lossy()).collect();
        let shown = hide(error.render().to_string(), given.iter().map(AsRef::as_ref));
        let _ = write!(output::stderr(), "{shown}");
        ExitCode::from(2)
    })
}

/// The text without the arguments that may hold a password. Of a URL, the scheme is kept.
fn hide<'a>(mut text: String, given: impl Iterator<Item = &'a str>) -> String {
    let mut secret: Vec<&str> = given
        .flat_map(|argument| [Some(argument), argument.split_once('=').map(|(_, value)| value)])
        .flatten()
        .filter(|part| part.contains("://") || part.contains('@') || part.to_ascii_lowercase().contains("password"))
        .collect();
    // The whole before a part of it.
    secret.sort_by_key(|part| std::cmp::Reverse(part.len()));
    for part in secret {
        let kept = part.split_once("://").map_or("", |(scheme, _)| scheme);
        let is_scheme =
            kept.len() < 20 && kept.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
        text = text.replace(part, &if is_scheme && !kept.is_empty() { format!("{kept}://..") } else { "..".into() });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;

    #[test]
    fn no_error_shows_a_password() {
        for arguments in [
            &["query", "--store", "postgresq://u:hunter2@h/d"][..],
            &["query", "--store=postgresq://u:hunter2@h/d"],
            &["query", "--store", "postgresql:u:hunter2@h"],
            &["query", "--store", "postgresql://u:hunter2#x@h/d"],
            &["query", "--store", "clickhouse://u:1/hunter2@h/d"],
            &["query", "--stor=postgresql://u:hunter2@h/d"],
            &["query", "postgresql://u:hunter2@h/d"],
            &["query", "--since", "postgresql://u:hunter2@h/d"],
            &["query", "--store", "host=h password=hunter2"],
            &["query", "--server", "ws://u:hunter2@h"],
            &["migrate", "--to", "plugin://u:hunter2@h", "--from", "x://u:hunter2@h"],
            &["postgresql://u:hunter2@h/d"],
            &["plugin", "install", "oci://u:hunter2@h"],
        ] {
            let all = ["reflow-tracing"].iter().chain(arguments);
            let error = Cli::try_parse_from(all).err().unwrap_or_else(|| panic!("{arguments:?} are valid"));
            let shown = hide(error.render().to_string(), arguments.iter().copied());
            assert!(!shown.contains("hunter2"), "{arguments:?}: {shown}");
            assert!(shown.starts_with("error: "), "{shown}");
        }
    }

    #[test]
    fn other_arguments_are_shown() {
        let error = Cli::try_parse_from(["reflow-tracing", "query", "--limit", "many"]).err().unwrap();
        assert!(hide(error.render().to_string(), ["query", "--limit", "many"].into_iter()).contains("'many'"));
    }
}
