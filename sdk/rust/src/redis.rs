//! Redis servers that the operator has granted, by label.
//!
//! ```no_run
//! use reflow_tracing_plugin::redis::{Command, Connection, Template, field, fixed, sortable};
//! use reflow_tracing_plugin::{EventBatch, Result};
//!
//! fn count_visit(page: &str) -> Result<Option<i64>> {
//!     let server = Connection::open("default")?;
//!     let count = server.run_one(Command::new("INCR").arg(format!("visits:{page}")))?;
//!     Ok(count.as_integer())
//! }
//!
//! /// Keeps the events of each trace in a hash. They never enter the plugin.
//! fn store(events: &EventBatch) -> Result<()> {
//!     let store = Template::new("HSETNX")
//!         .arg([fixed("events:"), field("trace-id")])
//!         .arg([sortable("timestamp"), sortable("event-id")])
//!         .arg([field("body")]);
//!     Connection::open("default")?.run_batch([store], events)?;
//!     Ok(())
//! }
//! ```

pub use crate::bindings::reflow::capabilities::redis::{
    Connection, Expectation, Part, RedisError as Error, Reply as FlatReply,
};
use crate::{EventBatch, Failure, StorageError};

/// A command: its name and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(Vec<Vec<u8>>);

impl Command {
    /// A command without arguments.
    pub fn new(name: &str) -> Self {
        Self(vec![name.into()])
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.0.push(argument.into());
        self
    }

    /// Adds a number, in decimal digits.
    #[must_use]
    pub fn number(self, number: i64) -> Self {
        self.arg(number.to_string())
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<Vec<u8>>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// A command that runs once per event.
#[derive(Debug, Clone)]
pub struct Template(Vec<Vec<Part>>);

impl Template {
    /// A command without arguments.
    pub fn new(name: &str) -> Self {
        Self(vec![vec![fixed(name)]])
    }

    /// Adds an argument of these parts.
    #[must_use]
    pub fn arg(mut self, parts: impl Into<Vec<Part>>) -> Self {
        self.0.push(parts.into());
        self
    }
}

/// These bytes, in every command.
pub fn fixed(bytes: impl Into<Vec<u8>>) -> Part {
    Part::Fixed(bytes.into())
}

/// A field of the event, as text.
pub fn field(name: &str) -> Part {
    Part::Field(name.into())
}

/// A field of the event, as bytes that sort like it.
pub fn sortable(name: &str) -> Part {
    Part::Sortable(name.into())
}

/// `1` if the event has this field, `0` if it is absent.
pub fn present(name: &str) -> Part {
    Part::Present(name.into())
}

/// A reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// No value.
    Nil,
    /// A number.
    Integer(i64),
    /// A status, mostly `OK`.
    Status(String),
    /// A string.
    Bytes(Vec<u8>),
    /// Several replies.
    Array(Vec<Reply>),
    /// The error of this command alone.
    Failed(String),
}

impl Reply {
    /// The number, if this is an integer.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The bytes, if this is a string.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements, if this is an array; otherwise none.
    pub fn into_elements(self) -> Vec<Reply> {
        match self {
            Self::Array(elements) => elements,
            _ => Vec::new(),
        }
    }

    /// Fails if this is an error.
    fn checked(self) -> Result<Self, Error> {
        match self {
            Self::Failed(message) => Err(Error::Server(message)),
            reply => Ok(reply),
        }
    }
}

impl Connection {
    /// Runs the commands in one round trip. Fails when the server refuses one; the others still run.
    pub fn run(&self, commands: impl IntoIterator<Item = Command>) -> Result<Vec<Reply>, Error> {
        let commands: Vec<_> = commands.into_iter().map(|command| command.0).collect();
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        nested(self.pipeline(&commands)?)
            .into_iter()
            .map(Reply::checked)
            .collect()
    }

    /// Runs one command.
    pub fn run_one(&self, command: Command) -> Result<Reply, Error> {
        let mut replies = self.run([command])?;
        replies
            .pop()
            .ok_or_else(|| Error::Other("the host gave no reply".into()))
    }

    /// Runs the commands as one transaction if every key holds its expected value; `None` when one does not.
    pub fn run_if(
        &self,
        expected: &[Expectation],
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Option<Vec<Reply>>, Error> {
        let commands: Vec<_> = commands.into_iter().map(|command| command.0).collect();
        match self.atomically(expected, &commands)? {
            Some(replies) => nested(replies)
                .into_iter()
                .map(Reply::checked)
                .collect::<Result<_, _>>()
                .map(Some),
            None => Ok(None),
        }
    }

    /// Runs the commands once per event of the batch. Returns the number of commands that ran.
    pub fn run_batch(
        &self,
        commands: impl IntoIterator<Item = Template>,
        events: &EventBatch,
    ) -> Result<u64, Error> {
        let commands: Vec<_> = commands.into_iter().map(|template| template.0).collect();
        self.pipeline_batch(None, &commands, events)
    }

    /// Runs the commands only for events for which `exists` answers with 0 or nil. Events of the batch with the same `exists`
    /// command count once.
    pub fn run_batch_unless(
        &self,
        exists: Template,
        commands: impl IntoIterator<Item = Template>,
        events: &EventBatch,
    ) -> Result<u64, Error> {
        let commands: Vec<_> = commands.into_iter().map(|template| template.0).collect();
        self.pipeline_batch(Some(&exists.0), &commands, events)
    }

    /// Runs commands that answer with bodies of events. The events never enter the plugin.
    pub fn run_for_events(
        &self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<EventBatch, Error> {
        let commands: Vec<_> = commands.into_iter().map(|command| command.0).collect();
        self.query_events(&commands)
    }

    /// Runs a script.
    pub fn run_script(
        &self,
        script: &str,
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
    ) -> Result<Reply, Error> {
        let reply = nested(self.eval(script, keys, arguments)?).pop();
        reply
            .ok_or_else(|| Error::Other("the host gave no reply".into()))?
            .checked()
    }
}

/// Rebuilds the nested replies from the flat list, where an array is followed by its elements.
fn nested(flat: Vec<FlatReply>) -> Vec<Reply> {
    let mut flat = flat.into_iter();
    let mut replies = Vec::new();
    while let Some(reply) = next(&mut flat) {
        replies.push(reply);
    }
    replies
}

fn next(flat: &mut impl Iterator<Item = FlatReply>) -> Option<Reply> {
    Some(match flat.next()? {
        FlatReply::Nil => Reply::Nil,
        FlatReply::Integer(number) => Reply::Integer(number),
        FlatReply::Status(text) => Reply::Status(text),
        FlatReply::Bytes(bytes) => Reply::Bytes(bytes),
        FlatReply::Failed(message) => Reply::Failed(message),
        FlatReply::Array(length) => Reply::Array((0..length).map_while(|_| next(flat)).collect()),
    })
}

/// Lets `?` convert an error of the server.
impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchLabel(label) => Self::InvalidArgument(format!(
                "no Redis server is granted under the label `{label}`: add grants = {{ redis = {{ {label} = \"redis://..\" }} }}"
            )),
            Error::AccessDenied(message) => Self::InvalidArgument(message),
            Error::PoolExhausted => {
                Self::Unavailable("too many connections to the server are in use".into())
            }
            Error::Timeout => Self::Unavailable("the server did not answer in time".into()),
            Error::ConnectionLost(message) => Self::Unavailable(message),
            Error::LimitExceeded(message) => Self::Exhausted(message),
            Error::Server(message) => of_server(message),
            Error::Other(message) => Self::other(message),
        }
    }
}

/// Classifies an error of the server by the code at the start of its message.
fn of_server(message: String) -> StorageError {
    match message.split(' ').next() {
        Some("OOM") => StorageError::Exhausted(message),
        // Transient: starting, failing over, moving keys, running a script, unable to save, too few replicas.
        Some(
            "LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "BUSY" | "MISCONF"
            | "NOREPLICAS",
        ) => StorageError::Unavailable(message),
        _ => StorageError::Other(Failure {
            message,
            retryable: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_list_of_replies_is_nested_again() {
        use FlatReply as Flat;
        let flat = vec![
            Flat::Array(2),
            Flat::Array(0),
            Flat::Array(1),
            Flat::Nil,
            Flat::Integer(3),
        ];
        let inner = Reply::Array(vec![Reply::Array(vec![]), Reply::Array(vec![Reply::Nil])]);
        assert_eq!(nested(flat), [inner, Reply::Integer(3)]);
    }

    #[test]
    fn errors_are_classified_by_their_code() {
        let meaning = |message: &str| StorageError::from(Error::Server(message.into()));
        assert!(matches!(
            meaning("OOM command not allowed"),
            StorageError::Exhausted(_)
        ));
        assert!(matches!(
            meaning("READONLY You can't write"),
            StorageError::Unavailable(_)
        ));
        assert!(matches!(
            meaning("WRONGTYPE Operation"),
            StorageError::Other(Failure {
                retryable: false,
                ..
            })
        ));
    }
}
