//! Values in the text of a statement.

use uuid::Uuid;

use crate::model::TraceId;

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

/// A time in nanoseconds since 1970 where the statement has a DateTime64(9).
pub(super) fn time(nanoseconds: i64) -> String {
    // The least one can't be written as a number with a sign in front.
    format!("fromUnixTimestamp64Nano(toInt64('{nanoseconds}'), 'UTC')")
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
