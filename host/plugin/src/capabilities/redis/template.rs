//! Command templates, run once per event with its fields as arguments.

use std::collections::HashSet;

use redis::{Cmd, Pipeline, Value};

use super::prefix::{Prefix, refused};
use crate::contract::batch::Row;
use crate::contract::bindings::reflow::capabilities::redis::{Part, RedisError};
use crate::contract::part;

/// Size of a chunk: small enough that the server processes one while the next is prepared, large enough that the overhead per
/// chunk does not matter.
const CHUNK_COMMANDS: usize = 500;
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks of a batch in flight: enough to keep the server busy, few enough to bound the memory.
pub(super) const CHUNKS_IN_FLIGHT: usize = 4;

/// A command with placeholders for fields.
pub(super) struct Template {
    arguments: Vec<Vec<part::Part>>,
}

/// The concatenated arguments of a command, and the end of each.
#[derive(Default, PartialEq, Eq, Hash)]
struct Filled {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// The checks of earlier rows.
#[derive(Default)]
struct Seen {
    checks: HashSet<Filled>,
    bytes: usize,
}

impl Filled {
    /// What it takes in the host.
    fn held(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + size_of::<usize>() * self.ends.len()
    }

    fn command(&self) -> Cmd {
        let mut command = Cmd::with_capacity(self.ends.len(), self.bytes.len());
        let mut start = 0;
        for &end in &self.ends {
            command.arg(&self.bytes[start..end]);
            start = end;
        }
        command
    }
}

impl Template {
    /// Fails when plugins may not run the command, or a field does not exist.
    pub(super) fn new(arguments: Vec<Vec<Part>>, prefix: &Prefix) -> Result<Self, RedisError> {
        let fixed: Vec<_> = arguments.iter().map(|parts| fixed(parts)).collect();
        let Some(name) = fixed.first().and_then(Option::as_deref) else {
            return Err(RedisError::Other("a command of a batch must begin with a fixed name".into()));
        };
        let keys = prefix.allow(Some(name))?;
        let shown = String::from_utf8_lossy(name).to_uppercase();
        if keys == super::commands::Keys::Scanned {
            return Err(refused(&shown, "its answer can't be used in a batch"));
        }
        let places = keys
            .places(arguments.len(), |at| fixed.get(at).and_then(Option::as_deref))
            .map_err(|problem| refused(&shown, &problem))?;
        let parsed = |parts: Vec<Part>| parts.into_iter().map(part::Part::try_from).collect::<Result<Vec<_>, _>>();
        let mut arguments =
            arguments.into_iter().map(parsed).collect::<Result<Vec<_>, _>>().map_err(RedisError::Other)?;
        for place in places {
            arguments[place].insert(0, part::Part::Fixed(prefix.as_bytes().to_vec()));
        }
        Ok(Self { arguments })
    }

    /// Fills in the arguments for an event. Fails when they exceed `max_bytes`.
    fn fill(&self, row: &Row, max_bytes: usize, filled: &mut Filled) -> Result<(), RedisError> {
        let Filled { bytes, ends } = filled;
        bytes.clear();
        ends.clear();
        for parts in &self.arguments {
            for part in parts {
                part.write(row, bytes);
                if bytes.len() > max_bytes {
                    return Err(too_large(max_bytes));
                }
            }
            ends.push(bytes.len());
        }
        Ok(())
    }
}

fn too_large(max_bytes: usize) -> RedisError {
    RedisError::LimitExceeded(format!(
        "the commands of an event have more than {max_bytes} bytes: use fewer fields, or raise limits.result_mb"
    ))
}

/// The bytes of an argument without fields.
fn fixed(parts: &[Part]) -> Option<Vec<u8>> {
    parts.iter().try_fold(Vec::new(), |mut bytes, part| match part {
        Part::Fixed(more) => {
            bytes.extend_from_slice(more);
            Some(bytes)
        }
        _ => None,
    })
}

/// The commands to run for each event of a batch.
pub(super) struct Templates {
    unless: Option<Template>,
    commands: Vec<Template>,
    /// Maximum size of a command.
    max_bytes: usize,
}

impl Templates {
    /// Fails when plugins may not run one of the commands, or a field does not exist.
    pub(super) fn new(
        unless: Option<Vec<Vec<Part>>>,
        commands: Vec<Vec<Vec<Part>>>,
        prefix: &Prefix,
        max_bytes: usize,
    ) -> Result<Self, RedisError> {
        let template = |arguments| Template::new(arguments, prefix);
        Ok(Self {
            unless: unless.map(template).transpose()?,
            commands: commands.into_iter().map(template).collect::<Result<_, _>>()?,
            max_bytes,
        })
    }

    /// Splits the rows so that the commands of each group fit into a chunk.
    pub(super) fn chunks<'a>(&'a self, rows: &'a [Row]) -> impl Iterator<Item = Result<Rows<'a>, RedisError>> + 'a {
        let mut seen = Seen::default();
        let rows_per_chunk = CHUNK_COMMANDS / self.commands.len().clamp(1, CHUNK_COMMANDS);
        rows.chunks(rows_per_chunk).map(move |rows| self.chunk(rows, &mut seen))
    }

    /// Omits rows whose check is equal to that of an earlier row.
    fn chunk<'a>(&'a self, rows: &'a [Row], seen: &mut Seen) -> Result<Rows<'a>, RedisError> {
        let Some(unless) = &self.unless else {
            return Ok(Rows { templates: self, rows: rows.iter().collect(), checks: None });
        };
        let mut checks = Pipeline::with_capacity(rows.len());
        let mut distinct = Vec::with_capacity(rows.len());
        for row in rows {
            let mut check = Filled::default();
            unless.fill(row, self.max_bytes.saturating_sub(seen.bytes), &mut check)?;
            let (command, bytes) = (check.command(), check.held());
            if seen.checks.insert(check) {
                // Kept twice: here and in the pipeline.
                seen.bytes += 2 * bytes;
                checks.add_command(command);
                distinct.push(row);
            }
        }
        Ok(Rows { templates: self, rows: distinct, checks: Some(checks) })
    }
}

/// Some of the rows of a batch.
pub(super) struct Rows<'a> {
    templates: &'a Templates,
    rows: Vec<&'a Row>,
    /// One command per row, whose answer says whether the event is already stored.
    pub checks: Option<Pipeline>,
}

impl<'a> Rows<'a> {
    /// Keeps the rows whose check says that they are absent.
    pub(super) fn absent(mut self, answers: &[Value]) -> Self {
        let mut absent = answers.iter().map(|value| matches!(value, Value::Int(0) | Value::Nil));
        self.rows.retain(|_| absent.next() == Some(true));
        self
    }

    /// The commands, in chunks.
    pub(super) fn commands(&self) -> Chunks<'_> {
        Chunks { templates: self.templates, rows: &self.rows, filled: Filled::default() }
    }
}

/// The commands for some rows. All commands of a row are in one chunk.
pub(super) struct Chunks<'a> {
    templates: &'a Templates,
    rows: &'a [&'a Row],
    filled: Filled,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Pipeline, RedisError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Templates { commands, max_bytes, .. } = self.templates;
        // Several chunks are in flight.
        let max_bytes = max_bytes / (CHUNKS_IN_FLIGHT + 1);
        let mut chunk = Pipeline::with_capacity(CHUNK_COMMANDS.min(commands.len() * self.rows.len()));
        let mut bytes = 0;
        while let Some((row, rest)) = self.rows.split_first()
            && chunk.len() < CHUNK_COMMANDS
            && bytes < CHUNK_BYTES
        {
            for template in commands {
                let filled = template.fill(row, max_bytes, &mut self.filled);
                bytes += self.filled.held();
                if let Err(error) = filled.and(if bytes > max_bytes { Err(too_large(max_bytes)) } else { Ok(()) }) {
                    return Some(Err(error));
                }
                chunk.add_command(self.filled.command());
            }
            self.rows = rest;
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    }
}

#[cfg(test)]
mod tests {
    use reflow_tracing_model::{TraceEvent, TraceId};

    use super::*;
    use crate::contract::batch::EventBatch;
    use crate::contract::flows::Flows;

    fn packed(arguments: Vec<Vec<Part>>) -> Result<String, RedisError> {
        let mut event = TraceEvent { actor_id: "parser".into(), ..TraceEvent::default() };
        event.data.error = Some(String::new());
        let batch = EventBatch::new(vec![(TraceId(uuid::Uuid::from_u128(7)), event)], &Flows::default());
        let templates = Templates::new(None, vec![arguments], &Prefix::new("p:"), 5 * 300)?;
        let rows = templates.chunks(batch.rows()).next().expect("there is an event")?;
        let chunk = rows.commands().next().expect("there is an event")?;
        Ok(String::from_utf8_lossy(&chunk.get_packed_pipeline()).replace("\r\n", " "))
    }

    fn part(bytes: &str) -> Part {
        Part::Fixed(bytes.into())
    }

    #[test]
    fn parts_are_joined_and_keys_get_the_prefix() {
        let trace = || Part::Field("trace-id".into());
        let command = vec![
            vec![part("SADD")],
            vec![part("t:"), trace()],
            vec![part("a"), Part::Field("actor-id".into())],
            vec![Part::Present("error".into()), Part::Present("port".into())],
        ];
        let expected = "*4 $4 SADD $40 p:t:00000000-0000-0000-0000-000000000007 $7 aparser $2 10 ";
        assert_eq!(packed(command).unwrap(), expected);
    }

    #[test]
    fn a_template_obeys_the_rules_of_a_command() {
        let field = || vec![Part::Field("trace-id".into())];
        for refusal in [
            vec![vec![part("FLUSHALL")]],
            vec![vec![part("ZUNION")], field(), field()],
            vec![vec![part("SCAN")], vec![part("0")]],
        ] {
            assert!(matches!(packed(refusal), Err(RedisError::AccessDenied(_))));
        }
        for mistake in
            [vec![], vec![vec![]], vec![field()], vec![vec![part("GET")], vec![Part::Field("nothing".into())]]]
        {
            let error = packed(mistake).unwrap_err();
            assert!(matches!(error, RedisError::Other(_) | RedisError::AccessDenied(_)), "{error:?}");
        }
    }

    #[test]
    fn a_command_can_be_too_large() {
        let bodies = vec![vec![part("SET")], vec![part("k")], vec![part(&"x".repeat(150)), part(&"x".repeat(151))]];
        assert!(matches!(packed(bodies), Err(RedisError::LimitExceeded(_))));
    }
}
