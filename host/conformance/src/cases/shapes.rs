use serde_json::{Value, json};

use super::super::case::cases;
use super::super::compare::same;
use super::super::{Outcome, Store};
use super::sample::{comes_back, event, event_of, trace, with_attribute, with_data, with_events};
use reflow_tracing_model::{FlowId, FlowTrace, FlowVersion, MessageSnapshot, TraceEventData, TraceMetadata};

cases! { "shapes":
    a_trace_without_anything_comes_back => "Names and events are optional.",
    the_deepest_attribute_comes_back => "Attributes may nest up to the limit.",
    an_attribute_of_a_mebibyte_comes_back => "A value may be large.",
    a_message_of_a_mebibyte_comes_back => "A value may be large.",
    a_trace_of_10000_events_comes_back => "A trace may have many events.",
    many_tags_and_attributes_come_back => "Maps may have many entries.",
}

async fn a_trace_without_anything_comes_back(store: &Store) -> Outcome {
    let empty = FlowTrace {
        flow_id: FlowId::default(),
        version: FlowVersion::default(),
        metadata: TraceMetadata::default(),
        ..trace(1)
    };
    comes_back(store, empty).await?;
    comes_back(store, with_events(trace(2), [with_data(1, TraceEventData::default())])).await?;
    comes_back(store, with_events(trace(3), [event_of(1, "")])).await
}

/// Alternating arrays and objects, `levels` deep.
pub(super) fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("core"), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({"in": inner}) })
}

async fn the_deepest_attribute_comes_back(store: &Store) -> Outcome {
    let deepest = with_attribute(1, nested(100));
    same("validate() of 100 levels", &deepest.validate().is_ok(), &true)?;
    comes_back(store, with_events(trace(1), [deepest])).await
}

async fn an_attribute_of_a_mebibyte_comes_back(store: &Store) -> Outcome {
    comes_back(store, with_events(trace(1), [with_attribute(1, json!("0123456789abcdef".repeat(64 * 1024)))])).await
}

async fn a_message_of_a_mebibyte_comes_back(store: &Store) -> Outcome {
    let serialized_data = (0..=255).cycle().take(1 << 20).collect();
    let message = Some(MessageSnapshot { serialized_data, ..MessageSnapshot::default() });
    let large = with_data(1, TraceEventData { message, ..TraceEventData::default() });
    comes_back(store, with_events(trace(1), [large])).await
}

async fn a_trace_of_10000_events_comes_back(store: &Store) -> Outcome {
    comes_back(store, with_events(trace(1), (0..10_000).map(event))).await
}

async fn many_tags_and_attributes_come_back(store: &Store) -> Outcome {
    let mut wide = trace(1);
    let mut event = event(1);
    for number in 0..200 {
        wide.metadata.tags.insert(format!("tag-{number}"), format!("value-{number}"));
        event.data.custom_attributes.insert(format!("attribute-{number}"), json!(number));
    }
    comes_back(store, with_events(wide, [event])).await
}
