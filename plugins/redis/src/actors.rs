//! The directory of actors: the set `actors`, in which a query looks for those whose id contains a text, and finds the indexes
//! of their traces. There are few actors beside the traces that they work in.

use std::collections::BTreeSet;

use reflow_tracing_plugin::redis::{Command, Connection, Expectation, Reply};
use reflow_tracing_plugin::{Result, StorageError};

use crate::key;

/// Actors that the server looks at in one step.
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
        let [next, actors] = <[Reply; 2]>::try_from(answer)
            .map_err(|answer| StorageError::other(format!("SSCAN was answered with {} values", answer.len())))?;
        // One may be given twice.
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

/// Removes those of the actors whose traces are all gone.
pub fn prune(server: &Connection, actors: &BTreeSet<String>) -> Result<()> {
    let there = server.run(actors.iter().map(|actor| Command::new("EXISTS").arg(key::by_actor(actor))))?;
    let gone: Vec<_> =
        actors.iter().zip(there).filter(|(_, there)| there.as_integer() == Some(0)).map(|(actor, _)| actor).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let still_gone = |actor: &&String| Expectation { key: key::by_actor(actor).into_bytes(), value: None };
    let expected: Vec<_> = gone.iter().map(still_gone).collect();
    // One of them was at work again just now: then they stay, which costs a query a look at an empty index.
    server.run_if(&expected, [Command::new("SREM").arg(key::ACTORS).args(gone.into_iter().map(String::as_str))])?;
    Ok(())
}

/// With a backslash before what stands for more than itself in a pattern of Redis's.
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
    fn a_part_of_an_id_stands_for_itself() {
        assert_eq!(escaped("a*[b-c]?\\"), "a\\*\\[b\\-c\\]\\?\\\\");
    }
}
