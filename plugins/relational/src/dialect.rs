//! What differs between the databases. Statements built at run time use `?`; a dialect may need numbered parameters.

use std::borrow::Cow;

pub struct Dialect {
    pub schema: &'static str,
    /// Fails when the tables exist, but not as `schema` creates them.
    pub has_layout: &'static str,
    pub store_traces: &'static str,
    pub store_tags: &'static str,
    pub store_events: &'static str,
    /// The lookup from a trace id to the number that events use for it, if they use one.
    pub number_of_trace: Option<&'static str>,
    pub stats: &'static str,
    /// Joins events to the trace of the outer query.
    pub event_of_trace: &'static str,
    /// Selects the events of a trace by its id.
    pub event_by_id: &'static str,
    /// Selects the events of several traces: the text before the ids and after them.
    pub event_by_ids: (&'static str, &'static str),
    /// Whether the actor contains a text, case-sensitively.
    pub actor_contains: &'static str,
    /// The duration of a trace, which may exceed 64 bits.
    pub duration: &'static str,
    /// A 64-bit parameter, compared with a value of any type.
    pub number: &'static str,
    numbered: bool,
}

/// A dialect whose statements are files in a folder.
macro_rules! files {
    ($folder:literal, $($field:ident: $value:expr),* $(,)?) => {
        Dialect {
            schema: include_str!(concat!($folder, "/schema.sql")),
            store_traces: include_str!(concat!($folder, "/store_traces.sql")),
            store_tags: include_str!(concat!($folder, "/store_tags.sql")),
            store_events: include_str!(concat!($folder, "/store_events.sql")),
            stats: include_str!(concat!($folder, "/stats.sql")),
            $($field: $value),*
        }
    };
}

const SQLITE: Dialect = files! { "sqlite",
    has_layout: "SELECT trace.seq, tag.trace_id, event.trace FROM trace, tag, event LIMIT 0",
    number_of_trace: Some(include_str!("sqlite/number_of_trace.sql")),
    event_of_trace: "event.trace = trace.seq",
    event_by_id: "trace = (SELECT seq FROM trace WHERE trace_id = ?)",
    event_by_ids: ("trace IN (SELECT seq FROM trace WHERE trace_id IN (", "))"),
    actor_contains: "instr(actor, ?) > 0",
    duration: "end_time - start_time",
    number: "?",
    numbered: false,
};

const POSTGRESQL: Dialect = files! { "postgresql",
    has_layout: "SELECT trace.body, tag.trace_id, event.trace_id FROM trace, tag, event LIMIT 0",
    number_of_trace: None,
    event_of_trace: "event.trace_id = trace.trace_id",
    event_by_id: "trace_id = ?",
    event_by_ids: ("trace_id IN (", ")"),
    actor_contains: "position(? IN actor) > 0",
    duration: "end_time::NUMERIC - start_time",
    number: "?::BIGINT",
    numbered: true,
};

const MYSQL: Dialect = files! { "mysql",
    has_layout: "SELECT trace.body, tag.trace_id, event.trace_id FROM trace, tag, event LIMIT 0",
    number_of_trace: None,
    event_of_trace: "event.trace_id = trace.trace_id",
    event_by_id: "trace_id = ?",
    event_by_ids: ("trace_id IN (", ")"),
    actor_contains: "locate(?, actor) > 0",
    duration: "CAST(end_time AS DECIMAL(20)) - start_time",
    number: "?",
    numbered: false,
};

impl Dialect {
    /// The dialect that the host calls `name`.
    pub fn of(name: &str) -> Option<&'static Self> {
        match name {
            "sqlite" => Some(&SQLITE),
            "postgresql" => Some(&POSTGRESQL),
            "mysql" => Some(&MYSQL),
            _ => None,
        }
    }

    /// The statement in this dialect. Every `?` in it must be a parameter.
    pub fn statement<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        if !self.numbered {
            return statement.into();
        }
        let mut numbered = String::with_capacity(statement.len() + 16);
        for (number, part) in statement.split('?').enumerate() {
            if number > 0 {
                numbered.push('$');
                numbered.push_str(&number.to_string());
            }
            numbered.push_str(part);
        }
        numbered.into()
    }
}
