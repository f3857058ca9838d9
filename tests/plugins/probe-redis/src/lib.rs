//! Runs a test's instructions on a Redis server: the flow of a query is a line of instructions, and the query fails with their
//! result.
//!
//! - `open LABEL`
//! - `run COMMAND; COMMAND; ..`: in one round trip
//! - `if KEY=VALUE; COMMAND; ..`: as a transaction, if the key holds the value; `if KEY; ..` if there is no such key
//! - `script KEY SCRIPT`
//! - `events COMMAND`: the number of events in the answer

#[macro_use]
#[path = "../../stub.rs"]
mod stub;

use reflow_tracing_plugin::redis::{Command, Connection, Expectation, Template, field, fixed};
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, StorageError, TracePage, TraceQuery, Uuid, export,
};

export!(Probe);

struct Probe;

impl Backend for Probe {
    fn open(_config: &str) -> Result<Self> {
        Ok(Self)
    }

    fn info(&self) -> Info {
        Info { name: "probe-redis".into(), version: env!("CARGO_PKG_VERSION").into(), features: Vec::new() }
    }

    /// Appends each body to the list `bodies`, and sets a key built from the event's fields.
    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let body = Template::new("RPUSH").arg([fixed("bodies")]).arg([field("body")]);
        let actor = Template::new("SET").arg([fixed("actor:"), field("actor-id")]).arg([field("event-id")]);
        Connection::open("default")?.run_batch([body, actor], events)?;
        Ok(())
    }

    fn query_traces(&self, query: TraceQuery, _page: PageRequest) -> Result<TracePage> {
        let line = query.flow_id.unwrap_or_default();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match verb {
            "open" => {
                Connection::open(rest)?;
                "opened".into()
            }
            "run" => format!("{:?}", Connection::open("default")?.run(commands(rest))?),
            "if" => {
                let (expectation, rest) = rest.split_once("; ").unwrap_or((rest, ""));
                let (key, value) = match expectation.split_once('=') {
                    Some((key, value)) => (key, Some(value.into())),
                    None => (expectation, None),
                };
                let expected = [Expectation { key: key.into(), value }];
                format!("{:?}", Connection::open("default")?.run_if(&expected, commands(rest))?)
            }
            "script" => {
                let (key, script) = rest.split_once(' ').unwrap_or((rest, ""));
                format!("{:?}", Connection::open("default")?.run_script(script, &[key.into()], &[])?)
            }
            "events" => Connection::open("default")?.run_for_events(commands(rest))?.len().to_string(),
            _ => return Err(StorageError::InvalidArgument(format!("unknown instruction: {line}"))),
        };
        Err(StorageError::other(format!("answered {answer}")))
    }

    fn get_events(&self, _trace_id: Uuid, _page: PageRequest) -> Result<EventPage> {
        let bodies = Command::new("LRANGE").arg("bodies").number(0).number(-1);
        Ok(EventPage { events: Connection::open("default")?.run_for_events([bodies])?, next: None })
    }

    stub!(store_traces, get_traces, delete_traces, stats, health_check);
}

fn commands(text: &str) -> impl Iterator<Item = Command> {
    text.split("; ").map(|command| {
        let mut words = command.split(' ');
        Command::new(words.next().unwrap_or_default()).args(words)
    })
}
