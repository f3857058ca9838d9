//! The keys and their contents.
//!
//! | key | type | content |
//! |---|---|---|
//! | `trace:ID` | string | the body of the header |
//! | `events:ID` | sorted set | the places of the events, all with score 0, so they are sorted by their bytes |
//! | `bodies:ID` | hash | place to body of the event; the event counts as stored once its body is here |
//! | `about:ID` | set | a summary of the events, for searches: see [`about`](crate::about) |
//! | `index:ID` | string | the header's searchable fields, as they are in the indexes |
//! | `by:..` | sorted set | an index: the places of traces with a header, all with score 0: see [`index`](crate::index) |
//! | `actors` | set | the ids of the actors that have an index: see [`actors`](crate::actors) |
//! | `traces` | sorted set | the id of every trace, scored with the time at which it expires |
//! | `layout` | string | the version of this layout |
//!
//! With a lifetime, the first three expire together. A later write removes the rest.

use reflow_tracing_plugin::Uuid;

/// The ids of all traces with a header or events.
pub const TRACES: &str = "traces";
/// The ids of all actors.
pub const ACTORS: &str = "actors";
/// The version of the layout.
pub const LAYOUT: &str = "layout";
/// All traces with a header.
pub const BY_START: &str = "by:start";
/// Traces with a failure.
pub const BY_FAILED: &str = "by:failed";
/// Traces without a failure so far.
pub const BY_SOUND: &str = "by:sound";

pub fn trace(id: Uuid) -> String {
    format!("trace:{}", hyphenated(id))
}

pub fn events(id: Uuid) -> String {
    format!("events:{}", hyphenated(id))
}

pub fn bodies(id: Uuid) -> String {
    format!("bodies:{}", hyphenated(id))
}

pub fn about(id: Uuid) -> String {
    format!("about:{}", hyphenated(id))
}

pub fn index(id: Uuid) -> String {
    format!("index:{}", hyphenated(id))
}

pub fn by_flow(flow: &str) -> String {
    format!("by:flow:{flow}")
}

pub fn by_execution(id: Uuid) -> String {
    format!("by:execution:{}", hyphenated(id))
}

pub fn by_status(status: &str) -> String {
    format!("by:status:{status}")
}

/// By a digest of the text, which may be long. Readers skip traces whose error has the same digest by chance.
pub fn by_error(error: &str) -> String {
    // FNV-1a.
    let digest = error
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("by:error:{digest:016x}")
}

/// The length shows where the name ends.
pub fn by_tag(name: &str, value: &str) -> String {
    format!("by:tag:{}:{name}={value}", name.len())
}

/// By duration, in steps: see [`duration`](crate::duration).
pub fn by_step(step: u16) -> String {
    format!("by:took:{step}")
}

pub fn by_actor(actor: &str) -> String {
    format!("by:actor:{actor}")
}

pub fn by_kind(kind: &str) -> String {
    format!("by:kind:{kind}")
}

fn hyphenated(id: Uuid) -> String {
    let (high, low) = (id.high, id.low);
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    let (d, e) = (low >> 48, low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_formatted_like_the_hosts() {
        let id = Uuid { high: 0x0123_4567_89ab_cdef, low: 0x0011_2233_4455_6677 };
        assert_eq!(trace(id), "trace:01234567-89ab-cdef-0011-223344556677");
    }
}
