//! The keys, and what lies under them.
//!
//! | key | type | content |
//! |---|---|---|
//! | `trace:ID` | string | the body of the header |
//! | `events:ID` | sorted set | the places of the events, all with score 0, hence in the order of their bytes |
//! | `bodies:ID` | hash | place to body of the event, which counts as stored once this is there |
//! | `about:ID` | set | what the events are about, to search by: see [`about`](crate::about) |
//! | `index:ID` | string | the header's searchable fields, as they stand in the indexes |
//! | `by:..` | sorted set | an index: the places of traces, all with score 0 |
//! | `traces` | sorted set | the id of every trace, scored with the time at which it expires |
//!
//! With a lifetime, the first four expire together; the others follow when a later write sweeps them out.

use reflow_tracing_plugin::Uuid;

/// The id of every trace that there is anything of.
pub const TRACES: &str = "traces";
/// All traces with a header, by their start.
pub const BY_START: &str = "by:start";

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

/// The length tells where the name ends.
pub fn by_tag(name: &str, value: &str) -> String {
    format!("by:tag:{}:{name}={value}", name.len())
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
    fn an_id_is_written_as_the_host_writes_it() {
        let id = Uuid { high: 0x0123_4567_89ab_cdef, low: 0x0011_2233_4455_6677 };
        assert_eq!(trace(id), "trace:01234567-89ab-cdef-0011-223344556677");
    }
}
