//! Literals in SQL statements.

use reflow_tracing_model::TraceId;
use uuid::Uuid;

/// A text literal. Text with special characters is written as hexadecimal bytes.
pub(super) fn text(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. :/".contains(&byte);
    if text.bytes().all(plain) {
        return format!("'{text}'");
    }
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("unhex('{digits}')")
}

/// A UUID literal.
pub(super) fn id(id: Uuid) -> String {
    format!("toUUID('{id}')")
}

/// A list of ids in parentheses, for `IN`.
pub(super) fn ids(ids: impl IntoIterator<Item = TraceId>) -> String {
    let ids: Vec<_> = ids.into_iter().map(|trace_id| format!("'{trace_id}'")).collect();
    format!("({})", ids.join(","))
}

/// Compares a column of type DateTime64(9) with a time in nanoseconds since 1970.
pub(super) fn compare(column: &str, operator: &str, nanoseconds: i64) -> String {
    /// A server can't parse an earlier time that another server formatted for it. The index is not used for such times.
    const EARLIEST_TEXT: i64 = i64::MIN / 1_000_000_000 * 1_000_000_000;
    // The minimum can't be written as a negative literal.
    match nanoseconds < EARLIEST_TEXT {
        true => format!("toUnixTimestamp64Nano({column}) {operator} toInt64('{nanoseconds}')"),
        false => format!("{column} {operator} fromUnixTimestamp64Nano(toInt64('{nanoseconds}'), 'UTC')"),
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn text_can_not_escape_from_its_literal() {
        assert_eq!(text("plain-text 1"), "'plain-text 1'");
        assert_eq!(text("it's"), "unhex('69742773')");
        assert_eq!(text("\\"), "unhex('5c')");
        assert_eq!(text("\0é"), "unhex('00c3a9')");
        assert_eq!(text(""), "''");
    }
}
