//! Going through an index in the order that a query asks for, some places at a time.

use reflow_tracing_plugin::redis::{Command, Connection};
use reflow_tracing_plugin::{Result, StorageError, TraceQuery};

use crate::place::{Place, newest_first};

/// The last id: no place of its time comes after it.
const LAST_ID: [u8; 16] = [0xff; 16];

/// A walk through an index, whose bytes sort by start, newest first, then by id.
pub struct Walk<'a> {
    server: &'a Connection,
    key: String,
    /// The bounds of what is left, as ZRANGE takes them with BYLEX.
    min: Vec<u8>,
    max: Vec<u8>,
    ascending: bool,
    /// Ascending, the last of the places with its start that was given: those of one start come in the order of the
    /// index, against which the walk goes otherwise.
    within: Option<Vec<u8>>,
    done: bool,
}

impl<'a> Walk<'a> {
    /// A walk through the one of `indexes` that has the fewest traces of the time that is asked for.
    pub fn through_smallest(
        server: &'a Connection,
        indexes: Vec<String>,
        query: &TraceQuery,
        after: Option<&[u8]>,
    ) -> Result<Self> {
        let (min, max) = bounds(query);
        let mut chosen = 0;
        if indexes.len() > 1 {
            let count = |key: &String| Command::new("ZLEXCOUNT").arg(key.as_str()).arg(&*min).arg(&*max);
            let counts = server.run(indexes.iter().map(count))?;
            let smallest = counts.iter().enumerate().min_by_key(|(_, count)| count.as_integer());
            chosen = smallest.map_or(0, |(at, _)| at);
        }
        let key = indexes.into_iter().nth(chosen).ok_or_else(|| StorageError::other("no index to go through"))?;
        let mut walk = Self { server, key, min, max, ascending: query.ascending, within: None, done: false };
        match after {
            Some(after) if query.ascending => walk.within = Some(after.to_vec()),
            Some(after) => walk.min = exclusive(after),
            None => {}
        }
        Ok(walk)
    }

    /// About `count` places more; none at the end.
    pub fn next(&mut self, count: usize) -> Result<Vec<Place>> {
        let places = if self.ascending { self.next_ascending(count)? } else { self.next_newest_first(count)? };
        let parsed = places.iter().map(|place| Place::parse(place)).collect::<Option<_>>();
        parsed.ok_or_else(|| StorageError::other(format!("the key `{}` holds something else", self.key)))
    }

    fn next_newest_first(&mut self, count: usize) -> Result<Vec<Vec<u8>>> {
        if self.done {
            return Ok(Vec::new());
        }
        let places = self.range(&self.min, &self.max, false, count)?;
        self.done = places.len() < count;
        if let Some(last) = places.last() {
            self.min = exclusive(last);
        }
        Ok(places)
    }

    fn next_ascending(&mut self, count: usize) -> Result<Vec<Vec<u8>>> {
        loop {
            if let Some(after) = self.within.take() {
                let start = &after[..8];
                let places = self.range(&exclusive(&after), &[b"[", start, &LAST_ID].concat(), false, count)?;
                if places.len() < count {
                    // The places of later starts lie before the first of this one.
                    self.max = exclusive(start);
                } else {
                    self.within = places.last().cloned();
                }
                if !places.is_empty() {
                    return Ok(places);
                }
            }
            if self.done {
                return Ok(Vec::new());
            }
            let places = self.range(&self.max, &self.min, true, count)?;
            self.done = places.len() < count;
            let mut groups: Vec<Vec<Vec<u8>>> =
                places.chunk_by(|a, b| a[..8] == b[..8]).map(<[Vec<u8>]>::to_vec).collect();
            if !self.done {
                // There may be more of the last start than these: its places are fetched in their order.
                let last = groups.pop().and_then(|mut group| group.pop());
                self.within = last.map(|place| place[..8].to_vec());
                if groups.is_empty() {
                    continue;
                }
            }
            groups.iter_mut().for_each(|group| group.reverse());
            return Ok(groups.concat());
        }
    }

    fn range(&self, from: &[u8], to: &[u8], reverse: bool, count: usize) -> Result<Vec<Vec<u8>>> {
        let range = Command::new("ZRANGE").arg(self.key.as_str()).arg(from).arg(to).arg("BYLEX");
        let range = if reverse { range.arg("REV") } else { range };
        let range = range.arg("LIMIT").number(0).number(i64::try_from(count).unwrap_or(i64::MAX));
        let places = self.server.run_one(range)?.into_elements();
        let places: Vec<_> = places.into_iter().filter_map(|place| place.into_bytes()).collect();
        if places.iter().any(|place| place.len() < 8) {
            return Err(StorageError::other(format!("the key `{}` holds something else", self.key)));
        }
        Ok(places)
    }
}

/// The places of the traces that started when the query says.
fn bounds(query: &TraceQuery) -> (Vec<u8>, Vec<u8>) {
    let min = query.start_to.map(|to| [b"[".as_slice(), &newest_first(to)].concat());
    let max = query.start_from.map(|from| [b"[".as_slice(), &newest_first(from), &LAST_ID].concat());
    (min.unwrap_or_else(|| b"-".to_vec()), max.unwrap_or_else(|| b"+".to_vec()))
}

fn exclusive(bound: &[u8]) -> Vec<u8> {
    [b"(", bound].concat()
}
