//! Values in the text of a statement.

use reflow_tracing_model::TraceId;
use uuid::Uuid;

/// Any text. What might mean something to the server is written as the numbers of its bytes.
pub(super) fn text(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. :/".contains(&byte);
    if text.bytes().all(plain) {
        return format!("'{text}'");
    }
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("unhex('{digits}')")
}

/// An id where the statement has a UUID.
pub(super) fn id(id: Uuid) -> String {
    format!("toUUID('{id}')")
}

/// Ids in brackets, for `IN`.
pub(super) fn ids(ids: impl IntoIterator<Item = TraceId>) -> String {
    let ids: Vec<_> = ids.into_iter().map(|trace_id| format!("'{trace_id}'")).collect();
    format!("({})", ids.join(","))
}

/// The condition that a column, a DateTime64(9), compares like this with a time in nanoseconds since 1970.
pub(super) fn compare(column: &str, operator: &str, nanoseconds: i64) -> String {
    /// Before it, a server can't read a time that another one has written for it as text. The index is of no use there.
    const EARLIEST_TEXT: i64 = i64::MIN / 1_000_000_000 * 1_000_000_000;
    // The least number can't be written with a sign in front.
    match nanoseconds < EARLIEST_TEXT {
        true => format!("toUnixTimestamp64Nano({column}) {operator} toInt64('{nanoseconds}')"),
        false => format!("{column} {operator} fromUnixTimestamp64Nano(toInt64('{nanoseconds}'), 'UTC')"),
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_text_can_not_end_its_literal() {
        assert_eq!(text("plain-text 1"), "'plain-text 1'");
        assert_eq!(text("it's"), "unhex('69742773')");
        assert_eq!(text("\\"), "unhex('5c')");
        assert_eq!(text("\0é"), "unhex('00c3a9')");
        assert_eq!(text(""), "''");
    }
}
