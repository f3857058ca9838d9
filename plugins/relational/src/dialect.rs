//! What differs between the databases. Statements that are built are written with `?`, and numbered where that is the custom.

use std::borrow::Cow;

pub struct Dialect {
    pub schema: &'static str,
    /// Fails where the tables are there, but not as `schema` makes them.
    pub has_layout: &'static str,
    pub store_traces: &'static str,
    pub store_tags: &'static str,
    pub store_events: &'static str,
    /// Answers with what stands in events for a trace id, where that is a number.
    pub number_of_trace: Option<&'static str>,
    pub stats: &'static str,
    /// Whether an event belongs to the trace of the query around.
    pub event_of_trace: &'static str,
    /// Whether an event belongs to a trace by its id.
    pub event_by_id: &'static str,
    /// Whether an event belongs to one of several traces; their ids follow, in parentheses.
    pub event_by_ids: (&'static str, &'static str),
    /// Whether the bytes of a parameter stand in a column, case and all.
    pub actor_contains: &'static str,
    /// The difference may be larger than a number of 64 bits.
    pub duration: &'static str,
    /// A parameter that is a number of 64 bits, whatever it is compared with.
    pub number: &'static str,
    numbered: bool,
}

/// The files of a folder.
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

    /// A statement that was written with `?`, which stands for nothing else in it.
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
