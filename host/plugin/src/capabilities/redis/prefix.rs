//! Adds the grant's prefix to a plugin's keys, and removes it from answers.

use redis::Value;

use super::commands::{Keys, keys_of};
use crate::contract::bindings::reflow::capabilities::redis::RedisError;

/// The prefix of all keys of a plugin.
#[derive(Clone)]
pub(super) struct Prefix(Vec<u8>);

/// How to process the answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Unchanged,
    /// The answer of SCAN: a cursor and an array of keys.
    ScannedKeys,
}

impl Prefix {
    pub(super) fn new(prefix: &str) -> Self {
        Self(prefix.as_bytes().to_vec())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key with the prefix.
    pub(super) fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.0, key].concat()
    }

    /// Adds the prefix to the keys of a command. Fails when plugins may not run it.
    pub(super) fn apply(&self, command: &mut Vec<Vec<u8>>) -> Result<Answer, RedisError> {
        let keys = self.allow(command.first().map(Vec::as_slice))?;
        for place in places(keys, command)? {
            command[place].splice(0..0, self.0.iter().copied());
        }
        if keys != Keys::Scanned || self.0.is_empty() {
            return Ok(Answer::Unchanged);
        }
        let escaped = self.escaped();
        match command.iter().skip(2).step_by(2).position(|option| option.eq_ignore_ascii_case(b"MATCH")) {
            Some(option) => {
                let pattern = command
                    .get_mut(2 + 2 * option + 1)
                    .ok_or_else(|| refused("SCAN", "the pattern after MATCH is missing"))?;
                pattern.splice(0..0, escaped);
            }
            None => command.extend([b"MATCH".to_vec(), [escaped, b"*".to_vec()].concat()]),
        }
        Ok(Answer::ScannedKeys)
    }

    /// The positions of the keys of the command with this name. Fails when plugins may not run it.
    pub(super) fn allow(&self, name: Option<&[u8]>) -> Result<Keys, RedisError> {
        let name = name.ok_or_else(|| RedisError::Other("the command has no name".into()))?;
        let shown = String::from_utf8_lossy(name).to_uppercase();
        match keys_of(name) {
            Some(Keys::Everything) if !self.0.is_empty() => Err(refused(&shown, "it covers keys without the prefix")),
            Some(keys) => Ok(keys),
            None if matches!(shown.as_str(), "EVAL" | "EVALSHA" | "SCRIPT") => {
                Err(refused(&shown, "run scripts with `eval`"))
            }
            None if matches!(shown.as_str(), "MULTI" | "EXEC" | "WATCH") => {
                Err(refused(&shown, "run transactions with `atomically`"))
            }
            None => Err(refused(&shown, "it is not in the host's list of commands with known keys")),
        }
    }

    /// The answer without prefixes, as the plugin sees it.
    pub(super) fn strip(&self, answer: Answer, value: Value) -> Value {
        match (answer, value) {
            (Answer::ScannedKeys, Value::Array(parts)) => Value::Array(
                parts
                    .into_iter()
                    .map(|part| match part {
                        Value::Array(keys) => {
                            Value::Array(keys.into_iter().filter_map(|key| self.strip_key(key)).collect())
                        }
                        cursor => cursor,
                    })
                    .collect(),
            ),
            (_, value) => value,
        }
    }

    fn strip_key(&self, key: Value) -> Option<Value> {
        match key {
            Value::BulkString(key) => key.strip_prefix(self.0.as_slice()).map(|key| Value::BulkString(key.to_vec())),
            _ => None,
        }
    }

    /// The prefix as a glob pattern that matches only itself.
    fn escaped(&self) -> Vec<u8> {
        let escape = |byte: &u8| match byte {
            b'*' | b'?' | b'[' | b']' | b'\\' | b'^' => vec![b'\\', *byte],
            byte => vec![*byte],
        };
        self.0.iter().flat_map(escape).collect()
    }
}

fn places(keys: Keys, command: &[Vec<u8>]) -> Result<Vec<usize>, RedisError> {
    let name = String::from_utf8_lossy(&command[0]).to_uppercase();
    keys.places(command.len(), |at| command.get(at).map(Vec::as_slice)).map_err(|problem| refused(&name, &problem))
}

/// The error for a command that plugins may not run.
pub(super) fn refused(command: &str, why: &str) -> RedisError {
    RedisError::AccessDenied(format!("plugins may not run the Redis command `{command}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|part| part.as_bytes().to_vec()).collect()
    }

    fn applied(prefix: &str, text: &str) -> Result<String, String> {
        let mut command = command(text);
        match Prefix::new(prefix).apply(&mut command) {
            Ok(_) => Ok(String::from_utf8(command.join(&b' ')).expect("all of it is text")),
            Err(RedisError::AccessDenied(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_get_the_prefix() {
        for (given, sent) in [
            ("MGET a b", "MGET p:a p:b"),
            ("MSET a 1 b 2", "MSET p:a 1 p:b 2"),
            ("ZUNIONSTORE to 2 a b WEIGHTS 1 2", "ZUNIONSTORE p:to 2 p:a p:b WEIGHTS 1 2"),
            ("SCAN 0", "SCAN 0 MATCH p:*"),
            ("SCAN 0 COUNT 10", "SCAN 0 COUNT 10 MATCH p:*"),
            ("SCAN 0 COUNT 10 match a*", "SCAN 0 COUNT 10 match p:a*"),
            ("HSCAN k 0 MATCH a*", "HSCAN p:k 0 MATCH a*"),
        ] {
            assert_eq!(applied("p:", given).as_deref(), Ok(sent));
        }
        assert_eq!(applied("", "SCAN 0 MATCH a*").as_deref(), Ok("SCAN 0 MATCH a*"));
    }

    #[test]
    fn a_prefix_is_not_interpreted_as_a_pattern() {
        assert_eq!(applied("a*[b]?\\", "SCAN 0").as_deref(), Ok("SCAN 0 MATCH a\\*\\[b\\]\\?\\\\*"));
    }

    #[test]
    fn a_match_that_is_the_value_of_another_option_is_ignored() {
        assert_eq!(applied("p:", "SCAN 0 TYPE MATCH").as_deref(), Ok("SCAN 0 TYPE MATCH MATCH p:*"));
    }

    #[test]
    fn what_plugins_may_not_run_is_named() {
        for (prefix, text) in
            [("", "FLUSHALL"), ("p:", "dbsize"), ("", "EVAL x 0"), ("", "KEYS *"), ("", "MEMORY DOCTOR")]
        {
            let message = applied(prefix, text).unwrap_err();
            let name = text.split(' ').next().unwrap_or_default().to_uppercase();
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
        assert_eq!(applied("", "DBSIZE").as_deref(), Ok("DBSIZE"));
    }

    #[test]
    fn keys_of_an_answer_lose_the_prefix() {
        let key = |text: &str| Value::BulkString(text.into());
        let answer = Value::Array(vec![key("0"), Value::Array(vec![key("p:a"), key("p:p:b")])]);
        let stripped = Prefix::new("p:").strip(Answer::ScannedKeys, answer);
        assert_eq!(stripped, Value::Array(vec![key("0"), Value::Array(vec![key("a"), key("p:b")])]));
    }
}
