//! `reflow:capabilities/render`: bodies as JSON, and JSON as bodies.

use reflow_tracing_model::{FlowTrace, TraceEvent, from_json};
use serde::Serialize;

use super::batch::split;
use super::state::HostState;
use crate::contract::bindings::reflow::capabilities::render::{Blobs, Host, Texts};
use crate::contract::body::{self, Body};
use crate::contract::budget::Budget;
use crate::runtime::cpu::Pace;

type Answer<T> = wasmtime::Result<Result<T, String>>;

impl Host for HostState {
    async fn headers_to_json(&mut self, bodies: Blobs) -> Answer<Texts> {
        to_json::<FlowTrace>(&bodies, self.budget(), self.pace()).await
    }

    async fn headers_from_json(&mut self, json: Texts) -> Answer<Blobs> {
        let check = |header: &FlowTrace| {
            header.validate().map_err(|error| error.to_string())?;
            if header.events.is_empty() { Ok(()) } else { Err("a header has no events".into()) }
        };
        from_texts(json, check, self.budget(), self.pace()).await
    }

    async fn events_to_json(&mut self, bodies: Blobs) -> Answer<Texts> {
        to_json::<TraceEvent>(&bodies, self.budget(), self.pace()).await
    }

    async fn events_from_json(&mut self, json: Texts) -> Answer<Blobs> {
        let check = |event: &TraceEvent| event.validate().map_err(|error| error.to_string());
        from_texts(json, check, self.budget(), self.pace()).await
    }
}

/// The JSON is several times as long as a body.
async fn to_json<T: Body + Serialize>(bodies: &Blobs, mut budget: Budget, mut pace: Pace) -> Answer<Texts> {
    let mut texts = Texts { text: String::new(), ends: Vec::new() };
    let bodies = match split(bodies) {
        Ok(bodies) => bodies,
        Err(problem) => return Ok(Err(problem)),
    };
    for (index, body) in bodies.into_iter().enumerate() {
        let json = body::decode_within::<T>(body, &budget)
            .map_err(|error| error.to_string())
            .and_then(|value| serde_json::to_string(&value).map_err(|error| error.to_string()))
            .and_then(|json| budget.take(json.len()).map(|()| json).map_err(|error| error.to_string()));
        match json {
            Ok(json) => texts.text.push_str(&json),
            Err(problem) => return Ok(Err(format!("number {index}: {problem}"))),
        }
        texts.ends.push(texts.text.len() as u32);
        pace.step(body.len()).await?;
    }
    Ok(Ok(texts))
}

async fn from_texts<T: Body>(
    json: Texts,
    check: impl Fn(&T) -> Result<(), String>,
    mut budget: Budget,
    mut pace: Pace,
) -> Answer<Blobs> {
    let json = Blobs { data: json.text.into_bytes(), ends: json.ends };
    let mut bodies = Blobs { data: Vec::new(), ends: Vec::new() };
    let texts = match split(&json) {
        Ok(texts) => texts,
        Err(problem) => return Ok(Err(problem)),
    };
    for (index, text) in texts.into_iter().enumerate() {
        if let Err(problem) = append(text, &check, &mut budget, &mut bodies.data) {
            return Ok(Err(format!("number {index}: {problem}")));
        }
        bodies.ends.push(bodies.data.len() as u32);
        pace.step(text.len()).await?;
    }
    Ok(Ok(bodies))
}

/// Appends the body of the value that `json` is.
fn append<T: Body>(
    json: &[u8],
    check: impl Fn(&T) -> Result<(), String>,
    budget: &mut Budget,
    bodies: &mut Vec<u8>,
) -> Result<(), String> {
    body::check_weight(json, budget).map_err(|error| error.to_string())?;
    let value = from_json(json)?;
    check(&value)?;
    let before = bodies.len();
    body::append(&value, bodies);
    budget.take(bodies.len() - before).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::runtime::cpu::CpuTime;

    #[tokio::test]
    async fn what_takes_many_times_its_bytes_is_refused_before_it_is_parsed() {
        let pace = || Arc::new(CpuTime::new("p".into(), Duration::from_secs(60))).pace();
        let mut event = serde_json::to_value(TraceEvent::default()).unwrap();
        event["data"]["custom_attributes"] = serde_json::json!({ "many": vec![serde_json::json!({"": 0}); 50_000] });
        let text = event.to_string();
        let json = || Texts { ends: vec![text.len() as u32], text: text.clone() };
        let from_json = async |budget| from_texts(json(), |_: &TraceEvent| Ok(()), budget, pace()).await.unwrap();
        let bodies = from_json(Budget::of_bytes(100_000_000)).await.unwrap();
        let refusal = from_json(Budget::of_bytes(30_000_000)).await.unwrap_err();
        assert!(refusal.contains("number 0: ") && refusal.contains("limits.result_mb"), "{refusal}");
        let to_json = async |budget| to_json::<TraceEvent>(&bodies, budget, pace()).await.unwrap();
        assert_eq!(to_json(Budget::of_bytes(100_000_000)).await.unwrap().ends, [text.len() as u32]);
        assert!(to_json(Budget::of_bytes(30_000_000)).await.unwrap_err().contains("limits.result_mb"));
    }
}
