//! Bodies as Reflow's JSON, and JSON as bodies.
//!
//! ```no_run
//! use reflow_tracing_plugin::{Event, Result, StorageError, render};
//!
//! /// What a webhook would send.
//! fn to_send(events: &[Event]) -> Result<String> {
//!     let bodies: Vec<_> = events.iter().map(|event| event.body.as_slice()).collect();
//!     let json = render::events_to_json(&bodies).map_err(StorageError::InvalidArgument)?;
//!     Ok(format!("[{}]", json.join(",")))
//! }
//! ```

use crate::bindings::reflow::capabilities::render;
use crate::{Blobs, Texts};

/// One JSON object for each body of a header. Fails on an invalid body.
pub fn headers_to_json(bodies: &[&[u8]]) -> Result<Vec<String>, String> {
    Ok(split(&render::headers_to_json(&joined(bodies))?))
}

/// One body for each JSON object. Fails on what is not a header.
pub fn headers_from_json(json: &[&str]) -> Result<Vec<Vec<u8>>, String> {
    Ok(parts(&render::headers_from_json(&texts(json))?))
}

/// One JSON object for each body of an event. Fails on an invalid body.
pub fn events_to_json(bodies: &[&[u8]]) -> Result<Vec<String>, String> {
    Ok(split(&render::events_to_json(&joined(bodies))?))
}

/// One body for each JSON object. Fails on what is not an event.
pub fn events_from_json(json: &[&str]) -> Result<Vec<Vec<u8>>, String> {
    Ok(parts(&render::events_from_json(&texts(json))?))
}

fn joined(bodies: &[&[u8]]) -> Blobs {
    let mut blobs = Blobs {
        data: Vec::new(),
        ends: Vec::with_capacity(bodies.len()),
    };
    for body in bodies {
        blobs.data.extend_from_slice(body);
        blobs.ends.push(blobs.data.len() as u32);
    }
    blobs
}

fn texts(json: &[&str]) -> Texts {
    let mut texts = Texts {
        text: String::new(),
        ends: Vec::with_capacity(json.len()),
    };
    for one in json {
        texts.text.push_str(one);
        texts.ends.push(texts.text.len() as u32);
    }
    texts
}

fn split(texts: &Texts) -> Vec<String> {
    let ranges = ranges(&texts.ends);
    ranges.map(|range| texts.text[range].to_owned()).collect()
}

fn parts(blobs: &Blobs) -> Vec<Vec<u8>> {
    let ranges = ranges(&blobs.ends);
    ranges.map(|range| blobs.data[range].to_vec()).collect()
}

fn ranges(ends: &[u32]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let starts = std::iter::once(0).chain(ends.iter().map(|&end| end as usize));
    starts.zip(ends).map(|(start, &end)| start..end as usize)
}
