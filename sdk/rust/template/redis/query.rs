//! The keys, traces in the order of their starts, and whether they match a query. A time in a member is 8 bytes that sort like it, an id
//! 16 bytes. In names of keys, an id is text:
//!
//! ```text
//! traces                        a sorted set: the ids of all traces, also of those that have only events
//! oldest-first, newest-first    sorted sets: start and id of each trace with a header
//! header:ID                     the header: the fields to search by, and the body
//! events:ID                     a sorted set: timestamp and event id of each event
//! bodies:ID                     a hash: the body of each event, by its place in `events:ID`
//! about:ID                      a set: "a" and each actor id, "k" and each event type, "x1" if an event has an error
//! ```

use std::collections::HashSet;

use reflow_tracing_plugin::redis::{Command, Connection, Reply};
use reflow_tracing_plugin::{Result, StorageError, TraceQuery, Uuid};

use crate::header::{Header, sortable, time_of};

/// The score of all members: members with one score are sorted by their bytes.
pub const UNSORTED: &str = "1";

/// Headers that are read at once.
const CHUNK: i64 = 64;
/// The last id.
const LAST: [u8; 16] = [0xff; 16];

pub fn header_of(id: Uuid) -> String {
    key("header", id)
}

pub fn events_of(id: Uuid) -> String {
    key("events", id)
}

pub fn bodies_of(id: Uuid) -> String {
    key("bodies", id)
}

pub fn about(id: Uuid) -> String {
    key("about", id)
}

/// A key of a trace. The id is written as the host writes it in the keys of events.
fn key(kind: &str, Uuid { high, low }: Uuid) -> String {
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    let (d, e) = (low >> 48, low & 0xffff_ffff_ffff);
    format!("{kind}:{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}

/// The traces in one of the two orders.
pub fn order(ascending: bool) -> &'static str {
    if ascending {
        "oldest-first"
    } else {
        "newest-first"
    }
}

/// The place of a trace in an order. Equal starts come by ascending id in both.
pub fn place(start: i64, id: Uuid, ascending: bool) -> Vec<u8> {
    [&start_of_place(start, ascending)[..], &id.to_bytes()].concat()
}

fn start_of_place(start: i64, ascending: bool) -> [u8; 8] {
    sortable(if ascending { start } else { !start })
}

/// What comes after this member, as a bound of ZRANGE.
pub fn exclusive(member: &[u8]) -> Vec<u8> {
    [b"(", member].concat()
}

/// A token is the place of the last item. It comes from a client, so it may be invalid.
pub fn checked_token(token: &[u8]) -> Result<&[u8]> {
    if token.len() == 24 {
        return Ok(token);
    }
    Err(StorageError::InvalidArgument(
        "the page token is not valid: it must come from this plugin".into(),
    ))
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

    /// The first and the last place, as bounds of ZRANGE.
    fn bounds(self) -> (Vec<u8>, Vec<u8>) {
        let (first, last) = if self.ascending {
            (self.from, self.to)
        } else {
            (self.to, self.from)
        };
        let start = |time| start_of_place(time, self.ascending);
        let min = first.map(|first| [&b"["[..], &start(first)].concat());
        let max = last.map(|last| [&b"["[..], &start(last), &LAST].concat());
        (
            min.unwrap_or_else(|| b"-".to_vec()),
            max.unwrap_or_else(|| b"+".to_vec()),
        )
    }
}

/// A trace in the order.
pub struct Found {
    pub id: Uuid,
    pub header: Header,
    pub place: Vec<u8>,
}

/// Passes the traces after a token to `take`, until it returns false.
pub fn walk(
    server: &Connection,
    range: Range,
    token: Option<&[u8]>,
    mut take: impl FnMut(Found) -> Result<bool>,
) -> Result<()> {
    let (mut min, max) = range.bounds();
    if let Some(token) = token {
        min = exclusive(checked_token(token)?);
    }
    loop {
        let command = Command::new("ZRANGE")
            .arg(order(range.ascending))
            .arg(min)
            .arg(&*max)
            .arg("BYLEX");
        let places = server
            .run_one(command.arg("LIMIT").number(0).number(CHUNK))?
            .into_elements();
        let places: Vec<_> = places.into_iter().filter_map(Reply::into_bytes).collect();
        let Some(last) = places.last() else {
            return Ok(());
        };
        min = exclusive(last);
        let ids = places
            .iter()
            .map(|place| parse(place, range.ascending))
            .collect::<Option<Vec<_>>>();
        let ids = ids
            .ok_or_else(|| StorageError::other("a place in the order is not one of this plugin"))?;
        let stored = headers(server, &ids.iter().map(|(_, id)| *id).collect::<Vec<_>>())?;
        for (((start, id), place), header) in ids.into_iter().zip(places).zip(stored) {
            // A place without its header is left over from a header that was replaced or deleted meanwhile.
            let Some(header) = header.filter(|header| header.start == start) else {
                continue;
            };
            if !take(Found { id, header, place })? {
                return Ok(());
            }
        }
    }
}

/// The start and the id of a place.
fn parse(place: &[u8], ascending: bool) -> Option<(i64, Uuid)> {
    let (start, id) = place.split_first_chunk()?;
    let start = time_of(*start);
    Some((
        if ascending { start } else { !start },
        Uuid::from_bytes(id.try_into().ok()?),
    ))
}

/// The headers of these traces; `None` where there is none.
pub fn headers(server: &Connection, ids: &[Uuid]) -> Result<Vec<Option<Header>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let stored = server
        .run_one(Command::new("MGET").args(ids.iter().copied().map(header_of)))?
        .into_elements();
    stored
        .into_iter()
        .map(|reply| {
            reply
                .into_bytes()
                .as_deref()
                .map(Header::decode)
                .transpose()
        })
        .collect()
}

pub fn matches(server: &Connection, query: &TraceQuery, id: Uuid, header: &Header) -> Result<bool> {
    // What the header tells comes first, since it costs nothing more.
    if !header.matches(query) {
        return Ok(false);
    }
    if query.actor.is_none() && query.event_types.is_none() && query.has_error.is_none() {
        return Ok(true);
    }
    let known = server
        .run_one(Command::new("SMEMBERS").arg(about(id)))?
        .into_elements();
    let known = known
        .into_iter()
        .filter_map(|reply| String::from_utf8(reply.into_bytes()?).ok());
    let known: HashSet<_> = known.collect();
    let failed = header.has_failed() || known.contains("kActorFailed") || known.contains("x1");
    let has_actor = |part: &String| {
        known
            .iter()
            .any(|text| text.strip_prefix('a').is_some_and(|id| id.contains(part)))
    };
    let has_kind =
        |names: &Vec<String>| names.iter().any(|name| known.contains(&format!("k{name}")));
    Ok(query.has_error.is_none_or(|wanted| wanted == failed)
        && query.event_types.as_ref().is_none_or(has_kind)
        && query.actor.as_ref().is_none_or(has_actor))
}
