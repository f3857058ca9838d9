//! Cheap requests that are expensive for the host: each asks for much more than it passes.

use std::cell::RefCell;

use reflow_tracing_plugin::keyvalue::{self, Bucket, EventEntry};
use reflow_tracing_plugin::sql::{Binding, Connection, Value};
use reflow_tracing_plugin::{Blobs, EventBatch, Result, StorageError, render};

thread_local! {
    /// Batches of earlier calls.
    static KEPT: RefCell<Vec<EventBatch>> = const { RefCell::new(Vec::new()) };
}

const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Does what `name` says; `None` if it is not an attack.
pub fn run(name: &str) -> Option<Result<()>> {
    Some(match name {
        "columns" => columns(&["body"; 10_000]),
        "unknown-columns" => columns(&["body", &"x".repeat(1024 * 1024)]),
        "bindings" => bindings(&vec![Binding::Field("body".into()); 10_000]),
        "fixed-bindings" => bindings(&vec![Binding::Fixed(Value::Null); 10_000]),
        "long-statement" => statement(&format!("SELECT 1 -- {}", "x".repeat(8 * 1024 * 1024))),
        "cursors" => cursors(),
        "entries" => entries(),
        "free-form-json" => render::events_from_json(&[&event(&free_form(1_000_000))]).map(drop).map_err(exhausted),
        "free-form-bodies" => free_form_bodies(),
        "keep" => keep(),
        "use-kept" => use_kept(),
        _ => return None,
    })
}

fn exhausted(problem: String) -> StorageError {
    StorageError::Exhausted(problem)
}

/// The JSON of an event with these attributes.
fn event(attributes: &str) -> String {
    event_at("2026-01-01T00:00:00Z", attributes)
}

/// The body of an event at a second.
pub fn body_at(second: u32) -> Vec<u8> {
    let time = format!("2026-01-01T00:{:02}:{:02}Z", second / 60 % 60, second % 60);
    render::events_from_json(&[&event_at(&time, "{}")]).expect("an event").remove(0)
}

fn event_at(time: &str, attributes: &str) -> String {
    format!(
        r#"{{"event_id":"{NIL}","timestamp":"{time}","event_type":"ActorCreated","actor_id":"a","data":{{"port":null,
        "message":null,"state_diff":null,"error":null,"performance_metrics":{{}},"custom_attributes":{attributes}}},
        "causality":{{"parent_event_id":null,"root_cause_event_id":"{NIL}","dependency_chain":[],"span_id":""}}}}"#
    )
}

/// The body of the header of a trace that starts at a second.
pub fn header_at(second: u32) -> Vec<u8> {
    let json = format!(
        r#"{{"trace_id":"{NIL}","flow_id":"f","execution_id":"{NIL}","version":{{"major":1,"minor":0,"patch":0,
        "git_hash":null,"timestamp":"2026-01-01T00:00:00Z"}},"start_time":"2026-01-01T00:{:02}:{:02}Z","end_time":null,
        "status":"Running","events":[],"metadata":{{"user_id":null,"session_id":null,"environment":"","hostname":"",
        "process_id":0,"thread_id":"","tags":{{}}}}}}"#,
        second / 60 % 60,
        second % 60
    );
    render::headers_from_json(&[&json]).expect("a header").remove(0)
}

/// Attributes that take about a hundred times their text.
fn free_form(count: usize) -> String {
    format!(r#"{{"a":[{}0]}}"#, r#"{"":0},"#.repeat(count))
}

/// A batch of 10,000 events.
fn batch() -> Result<EventBatch> {
    let body = body_at(0);
    let ends = (1..=10_000).map(|number| (number * body.len()) as u32).collect();
    let batch = EventBatch::new();
    batch.push(&Blobs { data: body.repeat(10_000), ends }).map_err(exhausted)?;
    Ok(batch)
}

fn columns(fields: &[&str]) -> Result<()> {
    let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
    batch()?.columns(&fields).map(drop).map_err(exhausted)
}

fn bindings(bindings: &[Binding]) -> Result<()> {
    Connection::open("default")?.insert_batch("INSERT INTO missing VALUES (?)", bindings, &batch()?)?;
    Ok(())
}

fn statement(sql: &str) -> Result<()> {
    Connection::open("default")?.execute(sql, &[])?;
    Ok(())
}

/// Opens cursors that hold a MiB each, and reads none.
fn cursors() -> Result<()> {
    let connection = Connection::open("default")?;
    let mut cursors = Vec::new();
    for _ in 0..900 {
        cursors.push(connection.query("SELECT zeroblob(1000000)", &[])?);
    }
    Ok(())
}

/// Entries whose values have the body 10,000 times.
fn entries() -> Result<()> {
    let entry = EventEntry {
        key: vec![keyvalue::Part::Sortable("event-id".into())],
        value: vec![keyvalue::Part::Field("json".into()); 100_000],
    };
    Bucket::open("default")?.insert_batch(&[entry], &batch()?, None)?;
    Ok(())
}

/// Pushes bodies of events with attributes that take much more than their text.
fn free_form_bodies() -> Result<()> {
    let body = render::events_from_json(&[&event(&free_form(8_000))]).map_err(exhausted)?.remove(0);
    let ends = (1..=100).map(|number| (number * body.len()) as u32).collect();
    EventBatch::new().push(&Blobs { data: body.repeat(100), ends }).map_err(exhausted)
}

/// Keeps a batch that takes more than a third of what the host may hold.
fn keep() -> Result<()> {
    let batch = EventBatch::new();
    let body = body_at(0);
    let ends = (1..=1_000).map(|number| (number * body.len()) as u32).collect();
    let events = Blobs { data: body.repeat(1_000), ends };
    for _ in 0..40 {
        batch.push(&events).map_err(exhausted)?;
    }
    KEPT.with_borrow_mut(|kept| kept.push(batch));
    Ok(())
}

fn use_kept() -> Result<()> {
    KEPT.with_borrow(|kept| match kept.first() {
        Some(batch) => Err(StorageError::NotFound(format!("{} events", batch.len()))),
        None => Err(StorageError::NotFound("nothing is kept".into())),
    })
}
