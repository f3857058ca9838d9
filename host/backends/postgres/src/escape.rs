//! Escapes U+0000, which PostgreSQL can't store in text.
//!
//! The escape sequence consists of three noncharacters, which don't occur in normal text; if they do, they are escaped too. In
//! each sequence the second symbol is greater than the first and not less than the third, so no sequence can match across the
//! border of two others. So escaped text contains an escaped part exactly where the text contains the part, and equality and
//! `position` stay exact.

use std::borrow::Cow;

const SYMBOLS: [char; 3] = ['\u{fdd0}', '\u{fdd1}', '\u{fdd2}'];

/// The escaped characters with their sequences.
const SEQUENCES: [(char, &str); 4] = [
    ('\0', "\u{fdd0}\u{fdd1}\u{fdd0}"),
    (SYMBOLS[0], "\u{fdd0}\u{fdd2}\u{fdd0}"),
    (SYMBOLS[1], "\u{fdd0}\u{fdd2}\u{fdd1}"),
    (SYMBOLS[2], "\u{fdd0}\u{fdd2}\u{fdd2}"),
];

/// The first byte of the symbols in UTF-8.
const LEAD: u8 = 0xef;

/// The text in a form that PostgreSQL can store.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == 0 || byte == LEAD) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match SEQUENCES.iter().find(|(escaped, _)| *escaped == character) {
            Some((_, sequence)) => escaped.push_str(sequence),
            None => escaped.push(character),
        }
    }
    escaped.into()
}

/// The original text; `None` if it contains symbols outside of a valid sequence.
pub(super) fn unescape(text: String) -> Option<String> {
    if !text.bytes().any(|byte| byte == LEAD) {
        return Some(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(character) = rest.chars().next() {
        if SYMBOLS.contains(&character) {
            let (meaning, sequence) = SEQUENCES.iter().find(|(_, sequence)| rest.starts_with(sequence))?;
            plain.push(*meaning);
            rest = &rest[sequence.len()..];
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
    fn escaped_text_has_no_nul_and_unescapes_to_the_original() {
        for text in texts(5) {
            let escaped = escape(&text).into_owned();
            assert!(!escaped.contains('\0'), "{text:?}");
            assert_eq!(unescape(escaped).as_deref(), Some(text.as_str()));
        }
        assert_eq!(escape("plain ﷽ text"), "plain ﷽ text");
    }

    #[test]
    fn escaping_keeps_the_positions_of_substrings() {
        let parts = texts(3);
        for text in texts(4) {
            let escaped = escape(&text);
            for part in &parts {
                assert_eq!(escaped.contains(&*escape(part)), text.contains(part.as_str()), "{part:?} in {text:?}");
            }
        }
    }

    #[test]
    fn invalid_escape_sequences_are_rejected() {
        for text in ["\u{fdd0}", "a\u{fdd1}\u{fdd1}\u{fdd1}", "\u{fdd0}\u{fdd1}"] {
            assert_eq!(unescape(text.to_owned()), None, "{text:?}");
        }
    }
}
