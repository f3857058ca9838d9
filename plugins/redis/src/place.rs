//! Places of traces in an index: the start, then the id, as bytes that sort newest first.

use reflow_tracing_plugin::{Result, StorageError, Uuid};

/// Bytes of a start.
pub const TIME: usize = 8;
/// Bytes of a place.
pub const PLACE: usize = 24;

/// The place of a trace; also the token of the page that it ends.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Nanoseconds since the epoch.
    pub start: i64,
    pub id: Uuid,
}

impl Place {
    pub fn to_bytes(self) -> Vec<u8> {
        [newest_first(self.start).as_slice(), &self.id.to_bytes()].concat()
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (time, id) = bytes.split_at_checked(TIME)?;
        let number = !u64::from_be_bytes(time.try_into().ok()?) ^ (1 << 63);
        Some(Self { start: number.cast_signed(), id: Uuid::from_bytes(id.try_into().ok()?) })
    }
}

/// A time as bytes that sort from the latest to the earliest.
pub fn newest_first(time: i64) -> [u8; TIME] {
    (!(time.cast_unsigned() ^ (1 << 63))).to_be_bytes()
}

/// Fails when a page token is not a place.
pub fn checked_token(token: &[u8]) -> Result<&[u8]> {
    if token.len() == PLACE {
        return Ok(token);
    }
    Err(StorageError::InvalidArgument("the page token is not valid: it must come from this plugin".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_newest_first_then_by_id() {
        let place = |start, low| Place { start, id: Uuid { high: 0, low } };
        let sorted = [place(i64::MAX, 0), place(1, 0), place(1, 9), place(0, 0), place(-1, 0), place(i64::MIN, 0)];
        assert!(sorted.map(Place::to_bytes).is_sorted());
        for place in sorted {
            let parsed = Place::parse(&place.to_bytes()).unwrap();
            assert_eq!((parsed.start, parsed.id.low), (place.start, place.id.low));
        }
        assert!(Place::parse(b"short").is_none());
    }
}
