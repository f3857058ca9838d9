//! What differs between the databases. Statements that are built are written with `?`, and numbered where that is the custom.

use std::borrow::Cow;

pub struct Dialect {
    pub schema: &'static str,
    pub store_traces: &'static str,
    pub store_tags: &'static str,
    pub store_events: &'static str,
    pub stats: &'static str,
    /// Whether the bytes of a parameter stand in a column, case and all.
    pub actor_contains: &'static str,
    /// The difference may be larger than a number of 64 bits.
    pub duration: &'static str,
    /// A parameter that is a number of 64 bits, whatever it is compared with.
    pub number: &'static str,
    numbered: bool,
}

macro_rules! dialect {
    ($folder:literal, $actor_contains:literal, $duration:literal, $number:literal, $numbered:literal) => {
        Dialect {
            schema: include_str!(concat!($folder, "/schema.sql")),
            store_traces: include_str!(concat!($folder, "/store_traces.sql")),
            store_tags: include_str!(concat!($folder, "/store_tags.sql")),
            store_events: include_str!(concat!($folder, "/store_events.sql")),
            stats: include_str!(concat!($folder, "/stats.sql")),
            actor_contains: $actor_contains,
            duration: $duration,
            number: $number,
            numbered: $numbered,
        }
    };
}

const SQLITE: Dialect = dialect!("sqlite", "instr(actor, ?) > 0", "end_time - start_time", "?", false);
const POSTGRESQL: Dialect =
    dialect!("postgresql", "position(? IN actor) > 0", "end_time::NUMERIC - start_time", "?::BIGINT", true);
const MYSQL: Dialect =
    dialect!("mysql", "locate(?, actor) > 0", "CAST(end_time AS DECIMAL(20)) - start_time", "?", false);

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
