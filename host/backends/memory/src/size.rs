//! Computes the memory that values use: the bytes requested from the allocator, without its overhead.
//!
//! Strings and vectors report their capacity. Maps don't, so their size is derived from the implementation in the standard
//! library; the test that counts allocated bytes would notice a change.

use std::collections::BTreeMap;
use std::mem::{size_of, take};

use serde_json::{Map, Value};

use reflow_tracing_model::{EventId, ExecutionStatus, FlowTrace, More, TraceEvent, TraceEventType};

/// The two counters of an `Arc`.
pub(super) const ARC_BYTES: usize = 2 * size_of::<usize>();

/// The entries of a full B-tree node, and the bytes of a node besides its entries: parent, position and length.
const NODE_ENTRIES: usize = 11;
const NODE_BYTES: usize = 16;

/// The size of a hash table for `capacity` entries: a power of two of slots, an eighth of them spare, each with a control byte,
/// and a group of control bytes at the end.
pub(super) const fn table_bytes(capacity: usize, entry_bytes: usize) -> usize {
    let slots = match capacity {
        0 => return 0,
        1..8 => capacity + 1,
        _ => capacity * 8 / 7,
    };
    slots.next_power_of_two() * (entry_bytes + 1) + 16
}

/// The average size of an entry of a large hash table, which is between 7/16 and 7/8 full.
pub(super) const fn table_entry_bytes(entry_bytes: usize) -> usize {
    (entry_bytes + 1) * 3 / 2
}

/// The average size of an entry of a large B-tree that grew entry by entry: a node has seven or eight then.
pub(super) const fn tree_entry_bytes(entry_bytes: usize) -> usize {
    (NODE_ENTRIES * entry_bytes + NODE_BYTES) * 2 / 13
}

/// The size of the nodes of a packed B-tree.
fn packed_tree_bytes(entries: usize, entry_bytes: usize) -> usize {
    if entries == 0 {
        return 0;
    }
    let leaf = NODE_ENTRIES * entry_bytes + NODE_BYTES;
    let inner = leaf + (NODE_ENTRIES + 1) * size_of::<usize>();
    // Between two nodes, one entry is in their parent.
    let mut nodes = entries / (NODE_ENTRIES + 1) + 1;
    let mut bytes = nodes * leaf;
    while nodes > 1 {
        nodes = nodes.div_ceil(NODE_ENTRIES + 1);
        bytes += nodes * inner;
    }
    bytes
}

/// The heap size of a header. Its map is packed, which is smallest and exactly computable.
pub(super) fn pack_header(header: &mut FlowTrace) -> usize {
    let metadata = &mut header.metadata;
    let texts = [&header.flow_id.0, &metadata.environment, &metadata.hostname, &metadata.thread_id];
    let optional = [&metadata.user_id, &metadata.session_id, &header.version.git_hash];
    texts.into_iter().map(String::capacity).sum::<usize>()
        + optional.into_iter().flatten().map(String::capacity).sum::<usize>()
        + match &header.status {
            ExecutionStatus::Failed { error } => error.capacity(),
            _ => 0,
        }
        + pack_map(&mut metadata.tags, |value| value.capacity())
        + [&mut header.more, &mut header.version.more, &mut metadata.more].into_iter().map(pack_more).sum::<usize>()
}

/// The heap size of an event. Its maps are packed, which is smallest and exactly computable.
pub(super) fn pack_event(event: &mut TraceEvent) -> usize {
    let mut bytes = event.actor_id.capacity()
        + event.causality.span_id.capacity()
        + event.causality.dependency_chain.capacity() * size_of::<EventId>();
    if let TraceEventType::DataFlow { to_actor, to_port } = &event.event_type {
        bytes += to_actor.capacity() + to_port.capacity();
    }
    let data = &mut event.data;
    bytes += [&data.port, &data.error].into_iter().flatten().map(String::capacity).sum::<usize>();
    if let Some(message) = &mut data.message {
        bytes += pack_more(&mut message.more);
        bytes += message.message_type.capacity() + message.checksum.capacity() + message.serialized_data.capacity();
    }
    if let Some(diff) = &mut data.state_diff {
        bytes += pack_more(&mut diff.more);
        bytes += diff.after.capacity() + diff.before.as_ref().map_or(0, Vec::capacity);
    }
    let more = [&mut event.more, &mut data.more, &mut data.performance_metrics.more, &mut event.causality.more];
    bytes += more.into_iter().map(pack_more).sum::<usize>();
    bytes + pack_map(&mut data.custom_attributes, pack_json)
}

fn pack_more(more: &mut More) -> usize {
    more.as_map_mut().map_or(0, |fields| size_of::<BTreeMap<String, Value>>() + pack_map(fields, pack_json))
}

fn pack_map<V>(map: &mut BTreeMap<String, V>, pack_value: impl Fn(&mut V) -> usize) -> usize {
    // A single node is exact; with more nodes, each holds six to eleven entries until the map is rebuilt.
    if map.len() > NODE_ENTRIES {
        *map = take(map).into_iter().collect();
    }
    packed_tree_bytes(map.len(), size_of::<(String, V)>())
        + map.keys().map(String::capacity).sum::<usize>()
        + map.values_mut().map(pack_value).sum::<usize>()
}

fn pack_json(value: &mut Value) -> usize {
    match value {
        Value::String(text) => text.capacity(),
        Value::Array(values) => {
            values.capacity() * size_of::<Value>() + values.iter_mut().map(pack_json).sum::<usize>()
        }
        Value::Object(map) => {
            if map.len() > NODE_ENTRIES {
                *map = take(map).into_iter().collect::<Map<_, _>>();
            }
            packed_tree_bytes(map.len(), size_of::<(String, Value)>())
                + map.keys().map(String::capacity).sum::<usize>()
                + map.values_mut().map(pack_json).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
