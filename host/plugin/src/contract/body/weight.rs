//! What a body or a JSON text takes in memory once it is decoded, estimated without decoding it.
//!
//! Free-form values take many times the bytes of their text: an object with one field takes some 600 bytes, `{"":0}` has six.

use std::borrow::Cow;
use std::fmt;

use reflow_tracing_model::{
    CausalityInfo, EventId, FlowTrace, More, PerformanceMetrics, StateDiffType, TraceEvent, TraceEventType,
};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A body or a JSON text of so many bytes takes little memory, whatever it holds.
pub(crate) const SMALL: usize = 64 * 1024;
/// What a header takes at most, for each byte of its body: its labels are pairs of short texts.
const HEADER_FACTOR: usize = 64;
/// A value in an array that grows.
const ELEMENT: usize = 64;
/// The smallest object.
const OBJECT: usize = 640;
/// A field of an object, without its name and its value.
const ENTRY: usize = 128;
/// A text or an array, beside what is in it.
const ALLOCATION: usize = 64;

/// Values whose weight is known before they are decoded.
pub(crate) trait Weigh {
    /// The bytes that the value of a body takes in memory, or more. What is not a body weighs what it has.
    fn weigh_body(body: &[u8]) -> usize;
}

impl Weigh for FlowTrace {
    fn weigh_body(body: &[u8]) -> usize {
        body.len().saturating_mul(HEADER_FACTOR)
    }
}

impl Weigh for TraceEvent {
    fn weigh_body(body: &[u8]) -> usize {
        let Some((_, rest)) = body.split_first() else { return 0 };
        let Ok((event, rest)) = postcard::take_from_bytes::<EncodedEvent<'_>>(rest) else { return body.len() };
        let additions = postcard::take_from_bytes::<EncodedAdditions<'_>>(rest).ok();
        let more = additions.and_then(|(additions, _)| additions.more).unwrap_or_default();
        body.len() + weigh_json(event.data.attributes.as_bytes()) + weigh_json(more.as_bytes())
    }
}

/// An event as it is encoded, with its large parts borrowed. See `TraceEvent` of the model.
#[derive(Deserialize)]
#[expect(dead_code, reason = "fields that are not needed are only passed over")]
struct EncodedEvent<'a> {
    id: EventId,
    time: (i64, u32),
    kind: TraceEventType,
    actor: &'a str,
    #[serde(borrow)]
    data: EncodedData<'a>,
    causality: CausalityInfo,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "fields that are not needed are only passed over")]
struct EncodedData<'a> {
    port: Option<&'a str>,
    #[serde(borrow)]
    message: Option<EncodedMessage<'a>>,
    #[serde(borrow)]
    state: Option<EncodedState<'a>>,
    error: Option<&'a str>,
    metrics: PerformanceMetrics,
    attributes: &'a str,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "fields that are not needed are only passed over")]
struct EncodedMessage<'a> {
    kind: &'a str,
    bytes: u64,
    checksum: &'a str,
    data: &'a [u8],
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "fields that are not needed are only passed over")]
struct EncodedState<'a> {
    #[serde(borrow)]
    before: Option<&'a [u8]>,
    after: &'a [u8],
    kind: StateDiffType,
}

/// As `Additions` of the model.
#[derive(Deserialize)]
struct EncodedAdditions<'a> {
    #[allow(dead_code)] // Passed over.
    unmeasured: u8,
    more: Option<&'a str>,
}

/// The bytes that the value of a JSON text takes in memory, or more. What is not JSON weighs what it has until its mistake.
pub(crate) fn weigh_json(json: &[u8]) -> usize {
    weigh(json, Part::Free)
}

/// The same for an event or a header as JSON, whose messages and states are arrays of bytes.
pub(crate) fn weigh_event_json(json: &[u8]) -> usize {
    weigh(json, Part::Event)
}

fn weigh(json: &[u8], part: Part) -> usize {
    let mut weight = json.len();
    let mut json = serde_json::Deserializer::from_slice(json);
    // A mistake in it is reported where it is decoded.
    let _ = Scale { weight: &mut weight, part }.deserialize(&mut json);
    weight
}

/// Where a value is.
#[derive(Clone, Copy)]
enum Part {
    Event,
    /// `data` of an event.
    Data,
    /// `message` or `state_diff` of that.
    Content,
    /// An array of bytes there.
    Bytes,
    Free,
}

impl Part {
    fn field(self, name: &str) -> Self {
        match (self, name) {
            (Self::Event, "data") => Self::Data,
            (Self::Data, "message" | "state_diff") => Self::Content,
            (Self::Content, "serialized_data" | "before" | "after") => Self::Bytes,
            _ => Self::Free,
        }
    }
}

/// Adds up what values weigh.
struct Scale<'a> {
    weight: &'a mut usize,
    part: Part,
}

impl<'de> DeserializeSeed<'de> for Scale<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scale<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        // Its bytes are in the text.
        *self.weight += ALLOCATION;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        *self.weight += ALLOCATION;
        if matches!(self.part, Part::Bytes) {
            while values.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while values.next_element_seed(Scale { weight: self.weight, part: Part::Free })?.is_some() {
            *self.weight += ELEMENT;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        *self.weight += OBJECT;
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            *self.weight += ENTRY;
            fields.next_value_seed(Scale { weight: self.weight, part: self.part.field(&name) })?;
        }
        Ok(())
    }
}

/// What the free-form values of an event take in memory.
pub(crate) fn free_form_bytes(event: &TraceEvent) -> usize {
    let data = &event.data;
    let more = [&event.more, &data.more, &data.performance_metrics.more, &event.causality.more].into_iter();
    let more = more.chain(data.message.as_ref().map(|message| &message.more));
    let more = more.chain(data.state_diff.as_ref().map(|state| &state.more));
    let fields = data.custom_attributes.iter().chain(more.flat_map(More::iter));
    fields.map(|(name, value)| ENTRY + name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => ALLOCATION + text.len(),
        Value::Array(values) => ALLOCATION + values.iter().map(|value| ELEMENT + value_bytes(value)).sum::<usize>(),
        Value::Object(fields) => {
            OBJECT + fields.iter().map(|(name, value)| ENTRY + name.len() + value_bytes(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reflow_tracing_conformance::generate;
    use serde_json::json;

    use super::*;
    use crate::contract::body::encode;

    proptest! {
        /// Fails when the encoding of events changes and this file does not.
        #[test]
        fn an_event_is_read_as_it_is_encoded(event in generate::any_event()) {
            let body = encode(&event);
            let (encoded, rest) = postcard::take_from_bytes::<EncodedEvent<'_>>(&body[1..]).unwrap();
            let attributes = serde_json::to_string(&event.data.custom_attributes).unwrap();
            prop_assert!(encoded.data.attributes == attributes || event.data.custom_attributes.is_empty());
            prop_assert_eq!(encoded.actor, &event.actor_id);
            let additions = event.additions();
            if !additions.is_empty() {
                let (encoded, rest) = postcard::take_from_bytes::<EncodedAdditions<'_>>(rest).unwrap();
                prop_assert_eq!((encoded.unmeasured, encoded.more), (additions.unmeasured, additions.more.as_deref()));
                prop_assert!(rest.is_empty());
            }
            prop_assert!(TraceEvent::weigh_body(&body) >= body.len() + free_form_bytes(&event) / 2);
        }
    }

    #[test]
    fn free_form_values_weigh_what_they_take_and_bytes_one_each() {
        assert!(weigh_json(br#"[{"":0},{"":0}]"#) > 2 * OBJECT);
        assert!(weigh_json(&[b"[".as_slice(), &b"0,".repeat(1_000), b"0]"].concat()) > 1_000 * ELEMENT);
        let mut event = TraceEvent::default();
        event.data.message =
            Some(reflow_tracing_model::MessageSnapshot { serialized_data: vec![7; 100_000], ..Default::default() });
        let json = serde_json::to_vec(&event).unwrap();
        assert!(weigh_event_json(&json) < json.len() + 10_000);
        // The same name elsewhere is not an array of bytes.
        event.data.custom_attributes.insert("serialized_data".into(), json!(vec![0; 1_000]));
        assert!(weigh_event_json(&serde_json::to_vec(&event).unwrap()) > json.len() + 1_000 * ELEMENT);
        assert_eq!(weigh_json(b"nothing"), 7);
    }
}
