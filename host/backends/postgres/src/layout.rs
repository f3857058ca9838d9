//! Reads the tables of an older version without changing them.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// Precedes a `SELECT`: within it, `event` and `trace` are the tables of version 1 with the columns that version 2 added, which are
/// absent.
const VERSION_1_AS_2: &str = "WITH event AS NOT MATERIALIZED (SELECT *, NULL::bigint AS unmeasured, NULL::text AS more FROM event), \
     trace AS NOT MATERIALIZED (SELECT *, NULL::text AS more FROM trace) ";

/// The version of the tables. Only a store that was opened for reading has older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Version1,
    Newest,
}

impl Layout {
    /// `select`, which is written for the newest version, for these tables.
    pub(super) fn select(self, select: impl SqlSafeStr) -> SqlStr {
        let select = select.into_sql_str();
        match self {
            Self::Newest => select,
            Self::Version1 => AssertSqlSafe(format!("{VERSION_1_AS_2}{}", select.as_str())).into_sql_str(),
        }
    }
}
