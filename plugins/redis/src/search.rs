//! Queries: reads candidates from the indexes of one predicate, and checks them against the whole query in batches.

use reflow_tracing_plugin::redis::{Command, Connection, Error};
use reflow_tracing_plugin::{PageRequest, Result, StorageError, TracePage, TraceQuery};

use crate::about::{self, About};
use crate::header::Header;
use crate::place::{Place, checked_token};
use crate::walk::Walk;
use crate::{actors, duration, key};

/// Candidates per round trip: enough that round trips don't matter, few enough for the limit of an answer.
const CANDIDATES: usize = 500;
/// Maximum actors whose indexes are merged. A text that matches more actors is not selective.
const ACTORS: usize = 500;

/// A trace that matches.
pub struct Found {
    pub place: Place,
    body: Vec<u8>,
}

/// A page of traces.
pub fn page(server: &Connection, query: &TraceQuery, page: &PageRequest) -> Result<TracePage> {
    if let Some((name, _)) = query.more.first() {
        return Err(StorageError::Unsupported(format!("the predicate `{name}`")));
    }
    let after = page.token.as_deref().map(checked_token).transpose()?;
    let limit = page.limit as usize;
    let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
    // One more than requested shows whether there are more.
    let mut found = first(server, query, after, offset, limit.saturating_add(1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.place.to_bytes());
    Ok(TracePage { bodies: found.into_iter().map(|found| found.body).collect(), next })
}

/// The first `count` traces after the first `offset`.
pub fn first(
    server: &Connection,
    query: &TraceQuery,
    after: Option<&[u8]>,
    mut offset: usize,
    count: usize,
) -> Result<Vec<Found>> {
    let mut walk = Walk::through_smallest(server, indexes(server, query)?, query, after)?;
    let mut found = Vec::new();
    while found.len() < count {
        let wanted = (count - found.len()).saturating_add(offset);
        // Many candidates may be needed for a few matches.
        let candidates = walk.next(wanted.clamp(CANDIDATES / 5, CANDIDATES))?;
        if candidates.is_empty() {
            break;
        }
        let matching = check(server, query, &candidates)?;
        let skipped = offset.min(matching.len());
        offset -= skipped;
        found.extend(matching.into_iter().skip(skipped).take(count - found.len()));
    }
    Ok(found)
}

/// For each predicate, the indexes that together have every matching trace.
fn indexes(server: &Connection, query: &TraceQuery) -> Result<Vec<Vec<String>>> {
    let mut indexes = vec![vec![key::BY_START.to_owned()]];
    indexes.extend(query.flow_id.as_deref().map(|flow| vec![key::by_flow(flow)]));
    indexes.extend(query.execution_id.map(|id| vec![key::by_execution(id)]));
    indexes.extend(query.status.map(|status| vec![key::by_status(status.name())]));
    indexes.extend(query.error.as_deref().map(|error| vec![key::by_error(error)]));
    indexes.extend(query.tags.iter().map(|(name, value)| vec![key::by_tag(name, value)]));
    indexes.extend(query.has_error.map(|wanted| {
        let index = if wanted { key::BY_FAILED } else { key::BY_SOUND };
        vec![index.to_owned()]
    }));
    indexes.extend(query.event_types.as_ref().map(|kinds| kinds.iter().map(|kind| key::by_kind(kind)).collect()));
    if query.min_duration.is_some() || query.max_duration.is_some() {
        let steps = duration::steps(query.min_duration, query.max_duration);
        indexes.push(steps.map(key::by_step).collect());
    }
    if let Some(part) = &query.actor
        && let Some(actors) = actors::containing(server, part, ACTORS)?
    {
        indexes.push(actors.iter().map(|actor| key::by_actor(actor)).collect());
    }
    Ok(indexes)
}

/// The candidates that match, in their order.
fn check(server: &Connection, query: &TraceQuery, candidates: &[Place]) -> Result<Vec<Found>> {
    let mut headers = Command::new("MGET");
    for place in candidates {
        headers = headers.arg(key::index(place.id)).arg(key::trace(place.id));
    }
    let events = candidates.iter().filter(|_| about::is_needed_for(query));
    let events = events.map(|place| about::read(place.id));
    let mut replies = match server.run(std::iter::once(headers).chain(events)) {
        Ok(replies) => replies.into_iter(),
        // Large headers, or many actors: read fewer at a time.
        Err(Error::LimitExceeded(_)) if candidates.len() > 1 => {
            let (some, others) = candidates.split_at(candidates.len() / 2);
            let mut found = check(server, query, some)?;
            found.extend(check(server, query, others)?);
            return Ok(found);
        }
        Err(error) => return Err(error.into()),
    };
    let mut headers = replies.next().map(|reply| reply.into_elements()).unwrap_or_default().into_iter();
    let mut found = Vec::new();
    for &place in candidates {
        let mut bytes = || headers.next().and_then(|reply| reply.into_bytes());
        let (index, body) = (bytes(), bytes());
        let about = replies.next().map(About::of).transpose()?.unwrap_or_default();
        // It has expired or was deleted meanwhile.
        let (Some(index), Some(body)) = (index, body) else { continue };
        let header = Header::decode(&index)?;
        // A replaced header has another place.
        if header.start == place.start
            && header.matches(query)
            && (!about::is_needed_for(query) || about.matches(header.has_failed(), query))
        {
            found.push(Found { place, body });
        }
    }
    Ok(found)
}
