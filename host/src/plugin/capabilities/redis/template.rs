//! Commands that are run once an event, with fields of it in their arguments.

use std::collections::HashSet;

use redis::{Cmd, Pipeline};

use super::prefix::{Prefix, refused};
use super::{Part, RedisError};
use crate::plugin::batch::{Field, FieldValue, Row};

/// What is sent at a time: so little that the server works on it while the next is made ready, and enough that the number of
/// chunks does not matter.
const CHUNK_COMMANDS: usize = 500;
const CHUNK_BYTES: usize = 256 * 1024;

/// A command with places for fields.
pub(super) struct Template {
    arguments: Vec<Vec<Piece>>,
}

enum Piece {
    Fixed(Vec<u8>),
    Text(Field),
    Sortable(Field),
    Present(Field),
}

impl Template {
    /// Fails when plugins may not run the command, or a field is none.
    pub(super) fn new(arguments: Vec<Vec<Part>>, prefix: &Prefix) -> Result<Self, RedisError> {
        let fixed: Vec<_> = arguments.iter().map(|parts| fixed(parts)).collect();
        let Some(name) = fixed.first().and_then(Option::as_deref) else {
            return Err(RedisError::Other("a command of a batch must begin with its name, which is fixed".into()));
        };
        let keys = prefix.allow(Some(name))?;
        let shown = String::from_utf8_lossy(name).to_uppercase();
        if keys == super::commands::Keys::Scanned {
            return Err(refused(&shown, "its answer is of no use in a batch"));
        }
        let places = keys
            .places(arguments.len(), |at| fixed.get(at).and_then(Option::as_deref))
            .map_err(|problem| refused(&shown, &problem))?;
        let mut arguments =
            arguments.into_iter().map(pieces).collect::<Result<Vec<_>, _>>().map_err(RedisError::Other)?;
        for place in places {
            arguments[place].insert(0, Piece::Fixed(prefix.as_bytes().to_vec()));
        }
        Ok(Self { arguments })
    }

    /// The command for an event. Fails when it takes more than `max_bytes`.
    fn fill(&self, row: &Row, max_bytes: usize) -> Result<(Cmd, usize), RedisError> {
        let mut command = Cmd::with_capacity(self.arguments.len(), 128);
        let mut bytes = 0;
        let mut argument = Vec::new();
        for pieces in &self.arguments {
            argument.clear();
            for piece in pieces {
                piece.write(row, &mut argument);
                if bytes + argument.len() > max_bytes {
                    let message =
                        format!("a command of over {max_bytes} bytes: take fewer fields, or raise limits.result_mb");
                    return Err(RedisError::LimitExceeded(message));
                }
            }
            bytes += argument.len();
            command.arg(argument.as_slice());
        }
        Ok((command, bytes))
    }
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

fn pieces(parts: Vec<Part>) -> Result<Vec<Piece>, String> {
    let piece = |part| {
        Ok(match part {
            Part::Fixed(bytes) => Piece::Fixed(bytes),
            Part::Field(name) => Piece::Text(name.parse()?),
            Part::Sortable(name) => Piece::Sortable(name.parse()?),
            Part::Present(name) => Piece::Present(name.parse()?),
        })
    };
    parts.into_iter().map(piece).collect()
}

impl Piece {
    fn write(&self, row: &Row, argument: &mut Vec<u8>) {
        match self {
            Self::Fixed(bytes) => argument.extend_from_slice(bytes),
            Self::Present(field) => {
                argument.push(if matches!(row.value(*field), FieldValue::Absent) { b'0' } else { b'1' });
            }
            Self::Text(field) => match row.value(*field) {
                FieldValue::Absent => {}
                FieldValue::Uuid(uuid) => {
                    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                    argument.extend_from_slice(uuid.hyphenated().encode_lower(&mut text).as_bytes());
                }
                FieldValue::Integer(number) => argument.extend_from_slice(number.to_string().as_bytes()),
                FieldValue::Text(text) => argument.extend_from_slice(text.as_bytes()),
                FieldValue::Blob(bytes) => argument.extend_from_slice(&bytes),
            },
            Self::Sortable(field) => match row.value(*field) {
                FieldValue::Absent => {}
                FieldValue::Uuid(uuid) => argument.extend_from_slice(uuid.as_bytes()),
                FieldValue::Integer(number) => argument.extend_from_slice(&sortable(number)),
                FieldValue::Text(text) => argument.extend_from_slice(text.as_bytes()),
                FieldValue::Blob(bytes) => argument.extend_from_slice(&bytes),
            },
        }
    }
}

/// A number as bytes that sort like it.
fn sortable(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The commands of a batch, some at a time.
pub(super) struct Chunks<'a> {
    templates: &'a [Template],
    rows: &'a [&'a Row],
    max_bytes: usize,
}

impl<'a> Chunks<'a> {
    /// No command may take more than `max_bytes`.
    pub(super) fn new(templates: &'a [Template], rows: &'a [&'a Row], max_bytes: usize) -> Self {
        Self { templates, rows, max_bytes }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Pipeline, RedisError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut commands = Pipeline::with_capacity(CHUNK_COMMANDS);
        let mut bytes = 0;
        while let Some((row, rest)) = self.rows.split_first()
            && commands.len() < CHUNK_COMMANDS
            && bytes < CHUNK_BYTES
        {
            for template in self.templates {
                match template.fill(row, self.max_bytes) {
                    Ok((command, more)) => {
                        commands.add_command(command);
                        bytes += more;
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            self.rows = rest;
        }
        (!commands.is_empty()).then_some(Ok(commands))
    }
}

/// The rows for which the filled template is another than for every row before.
pub(super) fn distinct<'a>(
    template: &Template,
    rows: &[&'a Row],
    max_bytes: usize,
) -> Result<Vec<&'a Row>, RedisError> {
    let mut seen = HashSet::with_capacity(rows.len());
    let mut distinct = Vec::with_capacity(rows.len());
    for row in rows {
        if seen.insert(template.fill(row, max_bytes)?.0.get_packed_command()) {
            distinct.push(*row);
        }
    }
    Ok(distinct)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TraceEvent, TraceId};
    use crate::plugin::batch::EventBatch;

    fn packed(arguments: Vec<Vec<Part>>) -> Result<String, RedisError> {
        let mut event = TraceEvent { actor_id: "parser".into(), ..TraceEvent::default() };
        event.data.error = Some(String::new());
        let batch = EventBatch::new(vec![(TraceId(uuid::Uuid::from_u128(7)), event)]);
        let templates = [Template::new(arguments, &Prefix::new("p:"))?];
        let rows: Vec<_> = batch.rows().iter().collect();
        let chunk = Chunks::new(&templates, &rows, 200).next().expect("there is an event")?;
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
    fn numbers_sort_as_bytes() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX].map(sortable);
        assert!(numbers.is_sorted() && numbers[0] == [0; 8], "{numbers:?}");
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
        let bodies = vec![vec![part("SET")], vec![part("k")], vec![part(&"x".repeat(100)), part(&"x".repeat(101))]];
        assert!(matches!(packed(bodies), Err(RedisError::LimitExceeded(_))));
    }
}
