//! Does with a Redis server what a test tells it: a query for the traces of a flow named like a line of instructions runs
//! these, and what came of it is its error. Every other call is answered in good order, without a server.
//!
//! - `open LABEL`
//! - `run COMMAND; COMMAND; ..`: in one round trip
//! - `if KEY=VALUE; COMMAND; ..`: as a transaction, if the key holds the value; `if KEY; ..` if there is no such key
//! - `script KEY SCRIPT`
//! - `events COMMAND`: how many events come of it

use reflow_tracing_plugin::redis::{Command, Connection, Expectation, Template, field, fixed};
use reflow_tracing_plugin::{
    Backend, EventBatch, EventPage, Info, PageRequest, Result, Stats, StorageError, Trace, TracePage, TraceQuery, Uuid,
    export,
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

    fn store_traces(&self, _traces: Vec<Trace>) -> Result<()> {
        Ok(())
    }

    /// Appends each body to the list `bodies`, and sets a key that is made of the event's fields.
    fn store_events(&self, events: &EventBatch) -> Result<()> {
        let body = Template::new("RPUSH").arg([fixed("bodies")]).arg([field("body")]);
        let actor = Template::new("SET").arg([fixed("actor:"), field("actor-id")]).arg([field("event-id")]);
        Connection::open("default")?.run_batch([body, actor], events)?;
        Ok(())
    }

    fn get_traces(&self, ids: Vec<Uuid>) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(vec![None; ids.len()])
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
            _ => return Err(StorageError::InvalidArgument(format!("no instruction: {line}"))),
        };
        Err(StorageError::other(format!("answered {answer}")))
    }

    fn get_events(&self, _trace_id: Uuid, _page: PageRequest) -> Result<EventPage> {
        let bodies = Command::new("LRANGE").arg("bodies").number(0).number(-1);
        Ok(EventPage { events: Connection::open("default")?.run_for_events([bodies])?, next: None })
    }

    fn delete_traces(&self, _ids: Vec<Uuid>) -> Result<u64> {
        Ok(0)
    }

    fn stats(&self) -> Result<Stats> {
        Ok(Stats { traces: 0, events: 0, bytes: None, oldest: None, newest: None })
    }

    fn health_check(&self) -> Result<()> {
        Ok(())
    }
}

fn commands(text: &str) -> impl Iterator<Item = Command> {
    text.split("; ").map(|command| {
        let mut words = command.split(' ');
        Command::new(words.next().unwrap_or_default()).args(words)
    })
}
