//! Parses JSON, and refuses numbers that would be changed.
//!
//! A JSON parser rounds a number that has no exact value in its type, and says nothing. So the text of each number that may be
//! affected is compared with that of the value that was parsed: both must be the same decimal number. Integers of 64 bits, and
//! what programs print for floating-point numbers of 64 bits, always are.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::{memchr, memchr2, memmem};
use serde::Deserialize;
use serde_json::Value;

use crate::TraceEvent;

/// The floating-point fields of the model: the name with its parent, and whether the type has 32 bits.
const FLOATS: [(&str, bool); 2] =
    [("performance_metrics.cpu_usage_percent", true), ("performance_metrics.throughput_msgs_per_sec", false)];

/// Finds metrics.
static METRICS: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(b"\"performance_metrics\""));

/// The longest text without an exponent whose number every type holds exactly: six digits and a point, or seven digits.
const ALWAYS_EXACT: usize = 7;
/// The longest text of an integer that fits into 64 bits in any case.
const INTEGER: usize = 18;
/// The longest path and the longest number in an error.
const SHOWN: usize = 200;

/// Parses a value. The error names the field, also where a number would not be kept exactly.
pub fn from_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    match serde_json::from_slice(json) {
        Ok(value) => inexact_number(json).map_or(Ok(value), Err),
        Err(error) if error.is_data() => Err(inexact_number(json).unwrap_or_else(|| with_path(json, &error))),
        Err(error) => Err(with_path(json, &error)),
    }
}

/// Like [`from_json`], and faster for values that are mostly an event: `event` returns it, or `None` if this is another value.
/// Other floating-point numbers of such a value are ignored.
///
/// Most events have no free-form floating-point number. Then only their metrics are compared.
pub fn from_json_with_event<'a, T: Deserialize<'a>>(
    json: &'a [u8],
    event: impl FnOnce(&T) -> Option<&TraceEvent>,
) -> Result<T, String> {
    let Ok(value) = serde_json::from_slice(json) else { return from_json(json) };
    let inexact = match event(&value) {
        // With an escape sequence, a name can be written in other ways.
        Some(event) if !has_free_floats(event) && memchr(b'\\', json).is_none() => inexact_metric(json, event),
        _ => inexact_number(json),
    };
    inexact.map_or(Ok(value), Err)
}

/// Whether a number other than a metric was parsed as a floating-point number.
fn has_free_floats(event: &TraceEvent) -> bool {
    fn is_float(value: &Value) -> bool {
        match value {
            Value::Number(number) => number.is_f64(),
            Value::Array(values) => values.iter().any(is_float),
            Value::Object(values) => values.values().any(is_float),
            Value::Null | Value::Bool(_) | Value::String(_) => false,
        }
    }
    event.data.custom_attributes.values().any(is_float) || event.more_of_parts().any(|(_, value)| is_float(value))
}

/// [`inexact_number`] for an event without free-form floating-point numbers.
fn inexact_metric(json: &[u8], event: &TraceEvent) -> Option<String> {
    let metrics = &event.data.performance_metrics;
    if !metrics.more.is_empty() {
        return inexact_number(json);
    }
    if metrics.cpu_usage_percent.is_none() && metrics.throughput_msgs_per_sec.is_none() {
        return None;
    }
    // The metrics are numbers and `null`, so the next brace ends them. The same name elsewhere does no harm.
    METRICS.find_iter(json).find_map(|start| {
        let end = memchr(b'}', &json[start..]).map_or(json.len(), |length| start + length);
        inexact_within(json, start..end)
    })
}

/// The error for the first number that would not be kept exactly.
fn inexact_number(json: &[u8]) -> Option<String> {
    inexact_within(json, 0..json.len())
}

/// The same for the numbers within a range, which begins outside of a string.
fn inexact_within(json: &[u8], range: Range<usize>) -> Option<String> {
    let mut at = range.start;
    while at < range.end {
        match json[at] {
            b'"' => at = end_of_string(json, at + 1),
            b'-' | b'0'..=b'9' => {
                let number = number_at(json, at);
                at = number.range.end;
                if let Some(nearest) = number.nearest_other(json) {
                    let path = shortened(&path_to(json, number.range.start));
                    let text = shortened(number.text(json));
                    return Some(format!(
                        "`{path}` is {text}, which can't be kept exactly: it would become {nearest}. Round it, or send it as a \
                         string"
                    ));
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// A number in JSON.
struct Number {
    range: Range<usize>,
    is_integer: bool,
    has_exponent: bool,
}

fn number_at(json: &[u8], start: usize) -> Number {
    let (mut end, mut is_integer, mut has_exponent) = (start, true, false);
    while let Some(byte) = json.get(end) {
        match byte {
            b'0'..=b'9' | b'-' | b'+' => {}
            b'.' => is_integer = false,
            b'e' | b'E' => (is_integer, has_exponent) = (false, true),
            _ => break,
        }
        end += 1;
    }
    Number { range: start..end, is_integer, has_exponent }
}

impl Number {
    fn text<'a>(&self, json: &'a [u8]) -> &'a str {
        std::str::from_utf8(&json[self.range.clone()]).unwrap_or_default()
    }

    /// What the number would become, if that is another one.
    fn nearest_other(&self, json: &[u8]) -> Option<String> {
        let length = self.range.len();
        if length <= ALWAYS_EXACT && !self.has_exponent {
            return None;
        }
        let text = self.text(json);
        let is_single = match self.float_field(json) {
            Some(is_single) => is_single,
            None if self.is_integer && length <= INTEGER => return None,
            None if self.is_integer && (text.parse::<u64>().is_ok() || text.parse::<i64>().is_ok()) => return None,
            None => false,
        };
        // A number in the middle of two shortest texts is printed as either, and means the same.
        let (printed, nearest) = if is_single {
            let number: f32 = text.parse().ok()?;
            ([format!("{number:e}"), serde_json::to_string(&number).ok()?], format!("{number:?}"))
        } else {
            let number: f64 = text.parse().ok()?;
            ([format!("{number:e}"), serde_json::to_string(&number).ok()?], format!("{number:?}"))
        };
        let sent = Decimal::new(text);
        (!printed.iter().any(|printed| sent == Decimal::new(printed))).then_some(nearest)
    }

    /// Whether the number is the value of a floating-point field of the model, and if so, whether that has 32 bits.
    fn float_field(&self, json: &[u8]) -> Option<bool> {
        let before = json[..self.range.start].trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
        let before = before.strip_suffix(b"\"")?;
        let is_named = |path: &str| {
            let name = path.rsplit('.').next().unwrap_or(path);
            before.strip_suffix(name.as_bytes()).is_some_and(|before| before.ends_with(b"\""))
        };
        let (path, is_single) = FLOATS.into_iter().find(|(path, _)| is_named(path))?;
        path_to(json, self.range.start).ends_with(path).then_some(is_single)
    }
}

/// A decimal number without its sign: 0.DIGITS times a power of ten.
#[derive(PartialEq, Eq)]
struct Decimal {
    /// Without zeros at both ends.
    digits: Vec<u8>,
    power: i64,
}

impl Decimal {
    fn new(text: &str) -> Self {
        let text = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        // No other number has the same digits and an exponent of this size.
        let beyond = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
        let exponent = exponent.parse::<i64>().unwrap_or(beyond);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        let leading = digits().take_while(|digit| *digit == b'0').count();
        let mut digits: Vec<u8> = digits().skip(leading).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Self { digits, power: 0 };
        }
        let power = exponent.saturating_add_unsigned(whole.len() as u64).saturating_sub_unsigned(leading as u64);
        Self { digits, power }
    }
}

/// The position after the string whose first character is at `at`.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        // The character after a backslash does not end the string.
        at += 2;
    }
    json.len()
}

/// The error with the path of the value that it is about, if that is certain.
fn with_path(json: &[u8], error: &serde_json::Error) -> String {
    let message = error.to_string();
    if !message.starts_with("invalid ") && !message.starts_with("number out of range") {
        return message;
    }
    let lines = json.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let consumed = lines.map(<[u8]>::len).sum::<usize>() + error.column();
    let path = path_to(json, consumed.saturating_sub(1).min(json.len()));
    if path.is_empty() { message } else { format!("`{}`: {message}", shortened(&path)) }
}

/// The path of the value that contains the byte at `end`, such as `event.data.custom_attributes.sizes[2]`.
fn path_to(json: &[u8], end: usize) -> String {
    enum Level {
        Object(Range<usize>),
        Array(usize),
    }
    let (mut levels, mut is_name, mut at) = (Vec::new(), false, 0);
    while at < end {
        match json[at] {
            b'"' => {
                let after = end_of_string(json, at + 1);
                if let (true, Some(Level::Object(name))) = (is_name, levels.last_mut()) {
                    *name = at + 1..(after - 1).max(at + 1);
                }
                at = after;
                continue;
            }
            b'{' => {
                levels.push(Level::Object(0..0));
                is_name = true;
            }
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => {
                levels.pop();
            }
            b':' => is_name = false,
            b',' => match levels.last_mut() {
                Some(Level::Array(index)) => *index += 1,
                _ => is_name = true,
            },
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Array(index) => path += &format!("[{index}]"),
            Level::Object(name) if name.is_empty() => {}
            Level::Object(name) => {
                let name = String::from_utf8_lossy(&json[name]);
                if name.chars().all(|character| character.is_alphanumeric() || "_-".contains(character)) {
                    path += if path.is_empty() { "" } else { "." };
                    path += &name;
                } else {
                    path += &format!("[\"{name}\"]");
                }
            }
        }
    }
    path
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}..", &text[..end]),
    }
}

#[cfg(test)]
mod tests;
