//! A header as it is stored, and whether it matches a query.

use reflow_tracing_plugin::{Result, Status, StorageError, Trace, TraceQuery};

/// The fields to search by, and the body, which is the complete header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub start: i64,
    end: Option<i64>,
    flow: String,
    execution: [u8; 16],
    status: String,
    error: Option<String>,
    tags: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl From<Trace> for Header {
    fn from(trace: Trace) -> Self {
        Self {
            start: trace.start_time,
            end: trace.end_time,
            flow: trace.flow_id,
            execution: trace.execution_id.to_bytes(),
            status: trace.status.name().into(),
            error: trace.error,
            tags: trace.tags,
            body: trace.body,
        }
    }
}

impl Header {
    /// Its bytes: the fields one after another, and the tags at the end, because their number varies.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, Some(&self.start.to_be_bytes()));
        put(
            &mut bytes,
            self.end.map(i64::to_be_bytes).as_ref().map(|end| &end[..]),
        );
        put(&mut bytes, Some(self.flow.as_bytes()));
        put(&mut bytes, Some(&self.execution));
        put(&mut bytes, Some(self.status.as_bytes()));
        put(&mut bytes, self.error.as_ref().map(String::as_bytes));
        put(&mut bytes, Some(&self.body));
        for (name, value) in &self.tags {
            put(&mut bytes, Some(name.as_bytes()));
            put(&mut bytes, Some(value.as_bytes()));
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes)
            .ok_or_else(|| StorageError::other("a stored header is not one of this plugin"))
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
        let mut header = Self {
            start: i64::from_be_bytes(take(rest)??.try_into().ok()?),
            end: match take(rest)? {
                Some(end) => Some(i64::from_be_bytes(end.try_into().ok()?)),
                None => None,
            },
            flow: text(take(rest)??)?,
            execution: take(rest)??.try_into().ok()?,
            status: text(take(rest)??)?,
            error: match take(rest)? {
                Some(error) => Some(text(error)?),
                None => None,
            },
            tags: Vec::new(),
            body: take(rest)??.to_vec(),
        };
        while !rest.is_empty() {
            header.tags.push((text(take(rest)??)?, text(take(rest)??)?));
        }
        Some(header)
    }

    pub fn has_failed(&self) -> bool {
        self.status == Status::Failed.name()
    }

    /// Whether it matches what a query asks of headers.
    pub fn matches(&self, query: &TraceQuery) -> bool {
        // The difference of two times may need one bit more.
        let took = self.end.map(|end| i128::from(end) - i128::from(self.start));
        query.flow_id.as_ref().is_none_or(|flow| *flow == self.flow)
            && query
                .execution_id
                .is_none_or(|id| id.to_bytes() == self.execution)
            && query.start_from.is_none_or(|from| from <= self.start)
            && query.start_to.is_none_or(|to| self.start <= to)
            && query
                .status
                .is_none_or(|status| status.name() == self.status)
            && query
                .error
                .as_ref()
                .is_none_or(|error| Some(error) == self.error.as_ref())
            && query.tags.iter().all(|tag| self.tags.contains(tag))
            && query
                .min_duration
                .is_none_or(|min| took.is_some_and(|took| i128::from(min) <= took))
            && query
                .max_duration
                .is_none_or(|max| took.is_some_and(|took| took <= i128::from(max)))
    }
}

/// The length of a field that is absent.
const ABSENT: u32 = u32::MAX;

/// Appends a field: its length and its bytes.
fn put(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    // The host bounds a header to far less than 4 GiB.
    let length = field.map_or(ABSENT, |field| field.len() as u32);
    bytes.extend(length.to_be_bytes());
    bytes.extend(field.unwrap_or_default());
}

/// Takes the next field from the bytes; `None` when they end within it.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    if length == ABSENT {
        *bytes = rest;
        return Some(None);
    }
    let (field, rest) = rest.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(Some(field))
}

/// A time as 8 bytes that sort like it.
pub fn sortable(time: i64) -> [u8; 8] {
    (time.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The time of these bytes.
pub fn time_of(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            start: i64::MIN,
            end: Some(i64::MAX),
            flow: "billing".into(),
            execution: [7; 16],
            status: Status::Failed.name().into(),
            error: Some(String::new()),
            tags: vec![("env".into(), "é".into()), (String::new(), "\0".into())],
            body: vec![0, 255],
        }
    }

    #[test]
    fn a_header_comes_back() {
        let running = Header {
            end: None,
            error: None,
            tags: Vec::new(),
            ..header()
        };
        for header in [header(), running] {
            assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        }
    }

    #[test]
    fn what_ends_too_early_is_an_error() {
        let bytes = header().encode();
        let without_tags = Header {
            tags: Vec::new(),
            ..header()
        }
        .encode()
        .len();
        for end in (0..bytes.len()).filter(|end| *end != without_tags) {
            let is_between_tags =
                Header::decode(&bytes[..end]).is_ok_and(|header| header.tags.len() == 1);
            assert!(
                is_between_tags || Header::decode(&bytes[..end]).is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn bytes_of_times_sort_like_the_times() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(times.map(sortable).is_sorted());
        assert_eq!(times.map(|time| time_of(sortable(time))), times);
    }
}
