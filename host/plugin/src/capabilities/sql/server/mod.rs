//! Database servers over sqlx: the common part of PostgreSQL and MySQL.

mod dialect;
mod error;
mod lease;
mod pool;
mod row_statement;
mod session;
mod statement;

pub(super) use dialect::{Dialect, Execution, Steps, date_text, one_by_one, time_text};
pub(super) use error::describe;
pub(super) use row_statement::is_row_statement;
pub(super) use session::{Server, ServerLimits};
