//! Walks through indexes in the order of a query, in batches.

use std::collections::VecDeque;

use reflow_tracing_plugin::redis::{Command, Connection, Reply};
use reflow_tracing_plugin::{Result, StorageError, TraceQuery};

use crate::place::{PLACE, Place, TIME, newest_first};

/// The last id: the end of the places with a start.
const LAST_ID: [u8; 16] = [0xff; 16];
/// Minimum places per read of an index.
const LEAST_READ: usize = 16;

/// A walk through the union of several indexes.
pub struct Walk<'a> {
    server: &'a Connection,
    parts: Vec<Part>,
    ascending: bool,
    /// The last returned place.
    last: Option<[u8; PLACE]>,
}

/// A walk through one index, which is sorted by start, newest first, then by id.
struct Part {
    key: String,
    /// The bounds of the remaining places, in the syntax of ZRANGE with BYLEX.
    min: Vec<u8>,
    max: Vec<u8>,
    ascending: bool,
    /// In an ascending walk, the last place that was read of a start that is being read. Places with one start are returned in
    /// the order of the index, although the walk goes against it.
    within: Option<Vec<u8>>,
    done: bool,
    /// Places that were read but not returned yet.
    ready: VecDeque<[u8; PLACE]>,
}

impl<'a> Walk<'a> {
    /// A walk through the group of `indexes` that has the fewest traces in the query's time range.
    pub fn through_smallest(
        server: &'a Connection,
        mut indexes: Vec<Vec<String>>,
        query: &TraceQuery,
        after: Option<&[u8]>,
    ) -> Result<Self> {
        let (min, max) = bounds(query);
        if indexes.len() > 1 {
            let count = |key: &String| Command::new("ZLEXCOUNT").arg(key.as_str()).arg(&*min).arg(&*max);
            let mut counts = server.run(indexes.iter().flatten().map(count))?.into_iter();
            let mut smallest = i64::MAX;
            let mut chosen = Vec::new();
            for keys in indexes {
                let mut all = 0;
                let counts = counts.by_ref().map(|count| count.as_integer().unwrap_or(0));
                let counted: Vec<_> = keys.into_iter().zip(counts).inspect(|(_, count)| all += count).collect();
                if all < smallest {
                    smallest = all;
                    chosen = counted.into_iter().filter(|(_, count)| *count > 0).map(|(key, _)| key).collect();
                }
            }
            indexes = vec![chosen];
        }
        let part = |key| Part::new(key, &min, &max, query.ascending, after);
        let parts = indexes.into_iter().flatten().map(part).collect();
        Ok(Self { server, parts, ascending: query.ascending, last: None })
    }

    /// The next `count` places; fewer at the end.
    pub fn next(&mut self, count: usize) -> Result<Vec<Place>> {
        let mut places = Vec::with_capacity(count);
        while places.len() < count {
            self.read(count - places.len())?;
            let ascending = self.ascending;
            let heads = self.parts.iter_mut().filter(|part| !part.ready.is_empty());
            let Some(first) = heads.min_by_key(|part| in_order(&part.ready[0], ascending)) else { break };
            let place = first.ready.pop_front();
            if place != self.last {
                self.last = place;
                places.extend(place.as_ref().and_then(|place| Place::parse(place)));
            }
        }
        Ok(places)
    }

    /// Reads until each part has its next place, if there is one.
    fn read(&mut self, wanted: usize) -> Result<()> {
        let count = wanted.div_ceil(self.parts.len().max(1)).max(LEAST_READ);
        loop {
            let empty: Vec<_> = self.parts.iter_mut().filter(|part| part.ready.is_empty() && !part.is_over()).collect();
            if empty.is_empty() {
                return Ok(());
            }
            let replies = self.server.run(empty.iter().map(|part| part.range(count)))?;
            empty.into_iter().zip(replies).try_for_each(|(part, reply)| part.take(reply, count))?;
        }
    }
}

impl Part {
    fn new(key: String, min: &[u8], max: &[u8], ascending: bool, after: Option<&[u8]>) -> Self {
        let (mut min, max) = (min.to_vec(), max.to_vec());
        let mut within = None;
        match after {
            Some(after) if ascending => within = Some(after.to_vec()),
            Some(after) => min = exclusive(after),
            None => {}
        }
        Self { key, min, max, ascending, within, done: false, ready: VecDeque::new() }
    }

    /// Whether everything was read.
    fn is_over(&self) -> bool {
        self.done && self.within.is_none()
    }

    /// Reads the next `count` places.
    fn range(&self, count: usize) -> Command {
        let range = Command::new("ZRANGE").arg(self.key.as_str());
        let range = match (&self.within, self.ascending) {
            (Some(after), _) => range.arg(exclusive(after)).arg([b"[", &after[..TIME], &LAST_ID].concat()).arg("BYLEX"),
            (None, true) => range.arg(&*self.max).arg(&*self.min).arg("BYLEX").arg("REV"),
            (None, false) => range.arg(&*self.min).arg(&*self.max).arg("BYLEX"),
        };
        range.arg("LIMIT").number(0).number(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Takes the answer to [`range`](Self::range).
    fn take(&mut self, reply: Reply, count: usize) -> Result<()> {
        let place = |place: Reply| <[u8; PLACE]>::try_from(place.into_bytes()?).ok();
        let places = reply.into_elements().into_iter().map(place).collect::<Option<Vec<_>>>();
        let places =
            places.ok_or_else(|| StorageError::other(format!("the key `{}` has unexpected content", self.key)))?;
        let were_all = places.len() < count;
        match self.within.take() {
            Some(after) => {
                if were_all {
                    // The places of later starts are before the first of this one.
                    self.max = exclusive(&after[..TIME]);
                } else {
                    self.within = places.last().map(|place| place.to_vec());
                }
                self.ready.extend(places);
            }
            None if self.ascending => {
                self.done = were_all;
                let mut starts: Vec<_> = places.chunk_by(|a, b| a[..TIME] == b[..TIME]).collect();
                if !were_all {
                    // The last start may have more places; they are read in the order of the index.
                    self.within = starts.pop().map(|places| places[0][..TIME].to_vec());
                }
                self.ready.extend(starts.into_iter().flat_map(|places| places.iter().rev()));
            }
            None => {
                self.done = were_all;
                if let Some(last) = places.last() {
                    self.min = exclusive(last);
                }
                self.ready.extend(places);
            }
        }
        Ok(())
    }
}

/// A place as bytes that sort in the order of the walk.
fn in_order(place: &[u8; PLACE], ascending: bool) -> [u8; PLACE] {
    let mut bytes = *place;
    if ascending {
        bytes[..TIME].iter_mut().for_each(|byte| *byte = !*byte);
    }
    bytes
}

/// The bounds of the query's time range.
fn bounds(query: &TraceQuery) -> (Vec<u8>, Vec<u8>) {
    let min = query.start_to.map(|to| [b"[".as_slice(), &newest_first(to)].concat());
    let max = query.start_from.map(|from| [b"[".as_slice(), &newest_first(from), &LAST_ID].concat());
    (min.unwrap_or_else(|| b"-".to_vec()), max.unwrap_or_else(|| b"+".to_vec()))
}

fn exclusive(bound: &[u8]) -> Vec<u8> {
    [b"(", bound].concat()
}
