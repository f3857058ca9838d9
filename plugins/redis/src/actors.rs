//! The directory of actors: the set `actors`. A query finds the actors whose id contains a text there, and through them the
//! indexes of their traces. There are far fewer actors than traces.

use std::collections::BTreeSet;

use reflow_tracing_plugin::redis::{Command, Connection, Expectation, Reply};
use reflow_tracing_plugin::{Result, StorageError};

use crate::key;

/// Actors that the server scans per step.
const STEP: i64 = 5_000;

/// Adds actors.
pub fn note(actors: &BTreeSet<String>) -> Option<Command> {
    (!actors.is_empty()).then(|| Command::new("SADD").arg(key::ACTORS).args(actors.iter().map(String::as_str)))
}

/// The actors whose id contains `part`; `None` when there are more than `most`.
pub fn containing(server: &Connection, part: &str, most: usize) -> Result<Option<BTreeSet<String>>> {
    // Two stars in a row don't match the empty id.
    let pattern = if part.is_empty() { "*".to_owned() } else { format!("*{}*", escaped(part)) };
    let mut found = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    loop {
        let scan = Command::new("SSCAN").arg(key::ACTORS).arg(cursor).arg("MATCH").arg(&*pattern);
        let answer = server.run_one(scan.arg("COUNT").number(STEP))?.into_elements();
        let [next, actors] = <[Reply; 2]>::try_from(answer).map_err(|answer| {
            StorageError::other(format!("the server answered SSCAN with {} values instead of 2", answer.len()))
        })?;
        // SSCAN may return an element twice.
        let actors = actors.into_elements().into_iter().filter_map(Reply::into_bytes);
        found.extend(actors.filter_map(|actor| String::from_utf8(actor).ok()));
        if found.len() > most {
            return Ok(None);
        }
        cursor = next.into_bytes().unwrap_or_default();
        if matches!(&*cursor, b"0" | b"") {
            return Ok(Some(found));
        }
    }
}

/// Removes the actors that have no traces any more.
pub fn prune(server: &Connection, actors: &BTreeSet<String>) -> Result<()> {
    let there = server.run(actors.iter().map(|actor| Command::new("EXISTS").arg(key::by_actor(actor))))?;
    let gone: Vec<_> =
        actors.iter().zip(there).filter(|(_, there)| there.as_integer() == Some(0)).map(|(actor, _)| actor).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let still_gone = |actor: &&String| Expectation { key: key::by_actor(actor).into_bytes(), value: None };
    let expected: Vec<_> = gone.iter().map(still_gone).collect();
    // If one of them has a trace again, all stay. A query then reads a few empty indexes.
    server.run_if(&expected, [Command::new("SREM").arg(key::ACTORS).args(gone.into_iter().map(String::as_str))])?;
    Ok(())
}

/// The text as a Redis pattern that matches only itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_of_patterns_are_escaped() {
        assert_eq!(escaped("a*[b-c]?\\"), "a\\*\\[b\\-c\\]\\?\\\\");
    }
}
