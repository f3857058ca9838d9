//! The keys, traces in the order of their starts, and whether they match a query. A time in a key is 8 bytes that sort like it, an id 16
//! bytes:
//!
//! ```text
//! h id                        the header: the fields to search by, and the body
//! o start id, n !start id     the traces, oldest first and newest first
//! e id timestamp event-id     the body of an event
//! a id actor-id               which actors a trace has
//! k id event-type             which kinds of events it has
//! x id present                "1": it has an event with an error
//! l id                        it has an event whose actor id may be too long for a key: look at its events
//! ```

use reflow_tracing_plugin::keyvalue::Bucket;
use reflow_tracing_plugin::{Column, Result, StorageError, TraceQuery, Uuid};

use crate::header::{Header, sortable, time_of};

/// The kinds of keys that the events of a trace have.
pub const KINDS: [u8; 5] = [b'a', b'k', b'x', b'l', b'e'];

/// Headers that are read at once.
const CHUNK: u32 = 64;
/// The bytes of a place: its order, a start and an id.
const PLACE: usize = 25;

/// The key, or the beginning of the keys, of this kind of a trace.
pub fn of_trace(kind: u8, id: Uuid) -> Vec<u8> {
    [&[kind][..], &id.to_bytes()].concat()
}

/// The key of a trace in one of the orders. Equal starts come by ascending id in both.
pub fn place(start: i64, id: Uuid, ascending: bool) -> Vec<u8> {
    [&start_of_place(start, ascending)[..], &id.to_bytes()].concat()
}

fn start_of_place(start: i64, ascending: bool) -> Vec<u8> {
    let (order, start) = if ascending {
        (b'o', start)
    } else {
        (b'n', !start)
    };
    [&[order][..], &sortable(start)].concat()
}

/// Which traces are looked at, and in which order.
#[derive(Clone, Copy)]
pub struct Range {
    pub ascending: bool,
    pub from: Option<i64>,
    pub to: Option<i64>,
}

impl Range {
    pub fn of(query: &TraceQuery) -> Self {
        Self {
            ascending: query.ascending,
            from: query.start_from,
            to: query.start_to,
        }
    }

    /// What the keys of all of them begin with.
    fn common(self) -> Vec<u8> {
        let bound = |time| start_of_place(time, self.ascending);
        match (self.from, self.to) {
            (Some(from), Some(to)) => bound(from)
                .into_iter()
                .zip(bound(to))
                .take_while(|(a, b)| a == b)
                .map(|(byte, _)| byte)
                .collect(),
            _ => bound(0)[..1].to_vec(),
        }
    }

    fn contains(self, start: i64) -> bool {
        self.from.is_none_or(|from| from <= start) && self.to.is_none_or(|to| start <= to)
    }
}

/// A trace in the order.
pub struct Found {
    pub id: Uuid,
    pub header: Header,
    /// The page token to continue after it: its place, and the cursor of the listing that it was in.
    pub token: Vec<u8>,
}

/// Passes the traces after a token to `take`, until it returns false.
pub fn walk(
    bucket: &Bucket,
    range: Range,
    token: Option<&[u8]>,
    mut take: impl FnMut(Found) -> Result<bool>,
) -> Result<()> {
    let (after, cursor) = match token {
        // A token comes from a client, so it may be invalid.
        Some(token) => token.split_at_checked(PLACE).ok_or_else(|| {
            StorageError::InvalidArgument(
                "the page token is not valid: it must come from this plugin".into(),
            )
        })?,
        None => (&[][..], &[][..]),
    };
    let mut cursor = Some(cursor.to_vec()).filter(|cursor| !cursor.is_empty());
    let prefix = range.common();
    loop {
        let page = bucket.list_keys(&prefix, cursor.as_deref(), CHUNK)?;
        let places: Vec<_> = page
            .keys
            .iter()
            .filter(|key| &***key > after)
            .filter_map(|key| parse(key))
            .collect();
        let places: Vec<_> = places
            .into_iter()
            .filter(|(start, _)| range.contains(*start))
            .collect();
        let ids: Vec<_> = places.iter().map(|(_, id)| *id).collect();
        for ((start, id), header) in places.into_iter().zip(headers(bucket, &ids)?) {
            // A place without its header is left over from a header that was replaced or deleted meanwhile.
            let Some(header) = header.filter(|header| header.start == start) else {
                continue;
            };
            let token = [
                place(start, id, range.ascending),
                cursor.clone().unwrap_or_default(),
            ]
            .concat();
            if !take(Found { id, header, token })? {
                return Ok(());
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// The start and the id of a place.
fn parse(place: &[u8]) -> Option<(i64, Uuid)> {
    let (order, rest) = place.split_first()?;
    let (start, id) = rest.split_first_chunk()?;
    let start = time_of(*start);
    Some((
        if *order == b'o' { start } else { !start },
        Uuid::from_bytes(id.try_into().ok()?),
    ))
}

/// The headers of these traces; `None` where there is none.
pub fn headers(bucket: &Bucket, ids: &[Uuid]) -> Result<Vec<Option<Header>>> {
    let keys: Vec<_> = ids.iter().map(|id| of_trace(b'h', *id)).collect();
    let stored = bucket.get_many(&keys)?;
    stored
        .into_iter()
        .map(|bytes| bytes.as_deref().map(Header::decode).transpose())
        .collect()
}

pub fn matches(bucket: &Bucket, query: &TraceQuery, id: Uuid, header: &Header) -> Result<bool> {
    // What the header tells comes first, since it costs nothing more.
    if !header.matches(query) {
        return Ok(false);
    }
    let some = |keys: &[Vec<u8>]| -> Result<bool> {
        Ok(bucket.get_many(keys)?.iter().any(Option::is_some))
    };
    let kind = |name: &str| [of_trace(b'k', id), name.into()].concat();
    if let Some(names) = &query.event_types
        && !some(&names.iter().map(|name| kind(name)).collect::<Vec<_>>())?
    {
        return Ok(false);
    }
    if let Some(wanted) = query.has_error {
        let error = [of_trace(b'x', id), b"1".to_vec()].concat();
        let failed = header.has_failed() || some(&[kind("ActorFailed"), error])?;
        if failed != wanted {
            return Ok(false);
        }
    }
    query
        .actor
        .as_ref()
        .map_or(Ok(true), |part| has_actor(bucket, id, part))
}

fn has_actor(bucket: &Bucket, id: Uuid, part: &str) -> Result<bool> {
    let prefix = of_trace(b'a', id);
    for key in bucket.keys(&prefix) {
        if String::from_utf8_lossy(&key?[prefix.len()..]).contains(part) {
            return Ok(true);
        }
    }
    if bucket.get(&of_trace(b'l', id))?.is_none() {
        return Ok(false);
    }
    let mut cursor = None;
    loop {
        let page = bucket.scan_events(&of_trace(b'e', id), cursor.as_deref(), 1_000, false)?;
        let column = page
            .events
            .columns(&["actor-id".into()])
            .map_err(StorageError::other)?
            .pop();
        let Some(Column::Texts(actors)) = column else {
            return Err(StorageError::other("the host's actor ids are not texts"));
        };
        let starts = std::iter::once(0).chain(actors.ends.iter().copied());
        let mut texts = starts
            .zip(&actors.ends)
            .map(|(start, end)| &actors.text[start as usize..*end as usize]);
        if texts.any(|actor| actor.contains(part)) {
            return Ok(true);
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(false);
        }
    }
}
