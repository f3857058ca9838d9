//! U+0000 in text: PostgreSQL has none.
//!
//! It is written as a word of three noncharacters, which no one exchanges as text; when they occur nevertheless they become
//! such words too. In each word the second symbol is greater than the first and not less than the third. So no word can be
//! found across the border of two others, and escaped text contains an escaped part exactly where the text contains the part:
//! equality and `position` stay exact.

use std::borrow::Cow;

const SYMBOLS: [char; 3] = ['\u{fdd0}', '\u{fdd1}', '\u{fdd2}'];

/// What is escaped, and its word.
const WORDS: [(char, &str); 4] = [
    ('\0', "\u{fdd0}\u{fdd1}\u{fdd0}"),
    (SYMBOLS[0], "\u{fdd0}\u{fdd2}\u{fdd0}"),
    (SYMBOLS[1], "\u{fdd0}\u{fdd2}\u{fdd1}"),
    (SYMBOLS[2], "\u{fdd0}\u{fdd2}\u{fdd2}"),
];

/// The first byte of the symbols in UTF-8.
const LEAD: u8 = 0xef;

/// The text as PostgreSQL can hold it.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == 0 || byte == LEAD) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match WORDS.iter().find(|(escaped, _)| *escaped == character) {
            Some((_, word)) => escaped.push_str(word),
            None => escaped.push(character),
        }
    }
    escaped.into()
}

/// The text that was escaped; `None` when it holds symbols that don't make a word.
pub(super) fn unescape(text: String) -> Option<String> {
    if !text.bytes().any(|byte| byte == LEAD) {
        return Some(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(character) = rest.chars().next() {
        if SYMBOLS.contains(&character) {
            let (meaning, word) = WORDS.iter().find(|(_, word)| rest.starts_with(word))?;
            plain.push(*meaning);
            rest = &rest[word.len()..];
        } else {
            plain.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of up to `length` of these characters.
    fn texts(length: usize) -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut last = texts.clone();
        for _ in 0..length {
            last = last
                .iter()
                .flat_map(|text| ['a', '\0', SYMBOLS[0], SYMBOLS[1], SYMBOLS[2]].map(|next| format!("{text}{next}")))
                .collect();
            texts.extend(last.clone());
        }
        texts
    }

    #[test]
    fn what_is_escaped_has_no_nul_and_comes_back() {
        for text in texts(5) {
            let escaped = escape(&text).into_owned();
            assert!(!escaped.contains('\0'), "{text:?}");
            assert_eq!(unescape(escaped).as_deref(), Some(text.as_str()));
        }
        assert_eq!(escape("plain ﷽ text"), "plain ﷽ text");
    }

    #[test]
    fn a_part_is_found_where_it_is_and_nowhere_else() {
        let parts = texts(3);
        for text in texts(4) {
            let escaped = escape(&text);
            for part in &parts {
                assert_eq!(escaped.contains(&*escape(part)), text.contains(part.as_str()), "{part:?} in {text:?}");
            }
        }
    }

    #[test]
    fn symbols_that_are_no_word_are_noticed() {
        for text in ["\u{fdd0}", "a\u{fdd1}\u{fdd1}\u{fdd1}", "\u{fdd0}\u{fdd1}"] {
            assert_eq!(unescape(text.to_owned()), None, "{text:?}");
        }
    }
}
