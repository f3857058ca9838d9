//! `reflow:capabilities/render`: bodies as JSON, and JSON as bodies.

use reflow_tracing_model::{FlowTrace, TraceEvent, from_json};
use serde::Serialize;

use super::batch::{joined, split};
use super::state::HostState;
use crate::contract::bindings::reflow::capabilities::render::{Blobs, Host, Texts};
use crate::contract::body::{self, Body};

type Answer<T> = wasmtime::Result<Result<T, String>>;

impl Host for HostState {
    fn headers_to_json(&mut self, bodies: Blobs) -> Answer<Texts> {
        Ok(to_json::<FlowTrace>(&bodies, self.limits.result_bytes()))
    }

    fn headers_from_json(&mut self, json: Texts) -> Answer<Blobs> {
        Ok(from_texts(json, |header: &FlowTrace| {
            header.validate().map_err(|error| error.to_string())?;
            if header.events.is_empty() { Ok(()) } else { Err("a header has no events".into()) }
        }))
    }

    fn events_to_json(&mut self, bodies: Blobs) -> Answer<Texts> {
        Ok(to_json::<TraceEvent>(&bodies, self.limits.result_bytes()))
    }

    fn events_from_json(&mut self, json: Texts) -> Answer<Blobs> {
        Ok(from_texts(json, |event: &TraceEvent| event.validate().map_err(|error| error.to_string())))
    }
}

/// Fails when the JSON has more than `max_bytes`: it is several times as long as a body.
fn to_json<T: Body + Serialize>(bodies: &Blobs, max_bytes: usize) -> Result<Texts, String> {
    let mut texts = Texts { text: String::new(), ends: Vec::new() };
    for (index, body) in split(bodies)?.into_iter().enumerate() {
        let value: T = body::decode(body).map_err(|error| format!("number {index}: {error}"))?;
        texts.text.push_str(&serde_json::to_string(&value).map_err(|error| format!("number {index}: {error}"))?);
        if texts.text.len() > max_bytes {
            return Err(format!("the JSON has more than {max_bytes} bytes: pass fewer bodies at a time"));
        }
        texts.ends.push(texts.text.len() as u32);
    }
    Ok(texts)
}

fn from_texts<T: Body>(json: Texts, check: impl Fn(&T) -> Result<(), String>) -> Result<Blobs, String> {
    let json = Blobs { data: json.text.into_bytes(), ends: json.ends };
    let body = |(index, json): (usize, &[u8])| {
        let value = from_json(json).and_then(|value| check(&value).map(|()| value));
        value.map(|value| body::encode(&value)).map_err(|problem| format!("number {index}: {problem}"))
    };
    let bodies = split(&json)?.into_iter().enumerate().map(body).collect::<Result<Vec<_>, String>>()?;
    Ok(joined(bodies))
}
