//! Text of traces, plugins and servers must not control the terminal, nor look like something else.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a character controls a terminal (C0, DEL, C1), breaks a line, or changes the direction of the text around it.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Where text is printed: what is kept there, and how the rest is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Within a line: nothing is kept; `\n`, `\u{1b}`.
    Field,
    /// Lines, which end and may be indented with tabs.
    Lines,
    /// The same with colours. What is between them is of [`Field`](Self::Field)s.
    ColouredLines,
    /// JSON, which stays valid: `\u001b`.
    Json,
}

impl Place {
    fn keeps(self, c: char) -> bool {
        match self {
            Self::Field => false,
            Self::Lines | Self::Json => matches!(c, '\n' | '\t'),
            Self::ColouredLines => matches!(c, '\n' | '\t' | '\u{1b}'),
        }
    }

    /// The text with what is active in it escaped.
    fn escape(self, text: &str) -> Cow<'_, str> {
        let is_escaped = |c| is_active(c) && !self.keeps(c);
        if !text.contains(is_escaped) {
            return Cow::Borrowed(text);
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            match c {
                c if !is_escaped(c) => escaped.push(c),
                // All of them have four digits at most.
                c if self == Self::Json => write!(escaped, "\\u{:04x}", u32::from(c)).expect("a string takes all text"),
                c => escaped.extend(c.escape_default()),
            }
        }
        Cow::Owned(escaped)
    }
}

/// Text within a line.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    Place::Field.escape(text)
}

/// A writer that escapes what passes it, as UTF-8.
pub(super) struct Printable<W> {
    out: W,
    place: Place,
    /// The beginning of a character whose end is still to come.
    begun: Vec<u8>,
}

impl<W: Write> Printable<W> {
    pub(super) fn new(out: W, place: Place) -> Self {
        Self { out, place, begun: Vec::new() }
    }
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = Cow::Borrowed(bytes);
        if !self.begun.is_empty() {
            all = Cow::Owned([std::mem::take(&mut self.begun).as_slice(), bytes].concat());
        }
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.out.write_all(self.place.escape(chunk.valid()).as_bytes())?;
            let rest = chunk.invalid();
            let is_begun = std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
            if is_begun && chunks.peek().is_none() {
                self.begun = rest.to_vec();
            } else if !rest.is_empty() {
                write!(self.out, "{}", char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind, with how it looks in a field.
    const ACTIVE: [(char, &str); 12] = [
        ('\0', "\\u{0}"),
        ('\n', "\\n"),
        ('\t', "\\t"),
        ('\u{1b}', "\\u{1b}"),
        ('\u{7f}', "\\u{7f}"),
        ('\u{80}', "\\u{80}"),
        ('\u{9b}', "\\u{9b}"),
        ('\u{9f}', "\\u{9f}"),
        ('\u{200f}', "\\u{200f}"),
        ('\u{2028}', "\\u{2028}"),
        ('\u{202e}', "\\u{202e}"),
        ('\u{2069}', "\\u{2069}"),
    ];

    fn written(place: Place, parts: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut printable = Printable::new(&mut out, place);
        for part in parts {
            printable.write_all(part).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_active_is_escaped_and_other_text_is_unchanged() {
        for (c, escaped) in ACTIVE {
            assert_eq!(printable(&format!("a{c}b")), format!("a{escaped}b"));
        }
        for text in ["", "orders \\ é 日本語 \u{a0}\u{1f4be}\u{200b}", "\u{2027}\u{202f}\u{2065}\u{206a}"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn lines_keep_their_ends_and_colours_only_where_they_are_ours() {
        let text = "a\tb\n\u{1b}[31mred\u{9b}31m\u{202e}\r";
        assert_eq!(written(Place::Lines, &[text.as_bytes()]), "a\tb\n\\u{1b}[31mred\\u{9b}31m\\u{202e}\\r");
        assert_eq!(written(Place::ColouredLines, &[text.as_bytes()]), "a\tb\n\u{1b}[31mred\\u{9b}31m\\u{202e}\\r");
    }

    #[test]
    fn json_is_the_same_value_after_it_was_escaped() {
        let value = serde_json::json!({ACTIVE.map(|(c, _)| c).iter().collect::<String>(): "\u{9b}31m \u{1f4be}"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = written(Place::Json, &[text.as_bytes()]);
        assert!(!escaped.contains(|c| is_active(c) && c != '\n'), "{escaped:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn a_character_that_is_written_in_pieces_is_escaped() {
        for (c, escaped) in ACTIVE.into_iter().filter(|(c, _)| *c != '\n' && *c != '\t') {
            let text = format!("é{c}日");
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(written(Place::Lines, &bytes), format!("é{escaped}日"));
        }
        // Alone, this byte is a control character to terminals without UTF-8.
        assert_eq!(written(Place::Lines, &[b"a\x9bb", b"\xe2\x80", b"c"]), "a\u{fffd}b\u{fffd}c");
    }
}
