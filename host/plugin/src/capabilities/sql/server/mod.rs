//! Databases behind a server, over sqlx: what PostgreSQL and MySQL have in common.

mod error;
mod lease;
mod session;
mod statement;

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::error::DatabaseError;

use super::input::InputRows;
use super::{SqlError, Value};
use crate::capabilities::ConnectionBudget;
pub(super) use error::describe;
pub(super) use session::Server;

/// How much a server's statements and connections may take.
pub(super) struct ServerLimits {
    /// After this time no one waits for a statement any more.
    pub call_timeout: Duration,
    pub connections: ConnectionBudget,
}

/// One kind of database.
pub(super) trait Dialect: sqlx::Database {
    /// As the interface names it.
    const INTERFACE_NAME: &'static str;
    /// How a URL begins, for people.
    const URL: &'static str;

    /// How to connect. Fails on a URL that is none.
    fn options(url: &str) -> Result<Options<Self>, sqlx::Error>;

    /// Makes the server end statements and transactions that the host has given up.
    fn set_up<'c>(connection: &'c mut Self::Connection, call_timeout: Duration) -> BoxFuture<'c, sqlx::Result<()>>;

    /// Prepares a statement, or finds it prepared.
    fn prepare<'c>(
        connection: &'c mut Self::Connection,
        statement: &Arc<str>,
    ) -> BoxFuture<'c, sqlx::Result<Self::Statement>>;

    /// Runs a prepared statement.
    fn run<'c>(
        connection: &'c mut Self::Connection,
        statement: &Arc<str>,
        arguments: Self::Arguments,
    ) -> Steps<'c, Self>;

    /// Runs statements without parameters.
    fn script<'c>(connection: &'c mut Self::Connection, statements: String) -> Steps<'c, Self>;

    /// The statements to run for rows, each of which may take several.
    fn plan<'c>(
        connection: &'c mut Self::Connection,
        statement: &'c str,
        rows: &'c InputRows<'_>,
    ) -> BoxFuture<'c, Result<Vec<Execution>, SqlError>>;

    /// The parameters of a statement for a range of the rows. Fails on a value that it has no use for.
    fn arguments(
        statement: &Self::Statement,
        rows: &InputRows<'_>,
        range: Range<usize>,
    ) -> Result<Self::Arguments, SqlError>;

    fn changed(result: &Self::QueryResult) -> u64;

    /// A value of a row.
    fn value(row: &Self::Row, column: usize) -> Result<Value, SqlError>;

    /// What the server refused.
    fn describe(error: &dyn DatabaseError) -> SqlError;
}

/// How to connect to a database.
pub(super) type Options<D> = <<D as sqlx::Database>::Connection as sqlx::Connection>::Options;

/// What a statement gives: rows, and after those of a statement what it changed.
pub(super) type Steps<'c, D> =
    BoxStream<'c, sqlx::Result<sqlx::Either<<D as sqlx::Database>::QueryResult, <D as sqlx::Database>::Row>>>;

/// A statement, and the rows that it is run for.
pub(super) struct Execution {
    pub statement: Arc<str>,
    pub rows: Range<usize>,
}

/// The statement once for each row.
pub(super) fn one_by_one(statement: &str, rows: &InputRows<'_>) -> Vec<Execution> {
    let statement: Arc<str> = statement.into();
    (0..rows.count()).map(|row| Execution { statement: Arc::clone(&statement), rows: row..row + 1 }).collect()
}

/// `2026-01-31`.
pub(super) fn date_text(year: i32, month: u32, day: u32) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

/// `13:37:00`, with microseconds if there are any.
pub(super) fn time_text(hours: u32, minutes: u32, seconds: u32, micros: u32) -> String {
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if micros > 0 {
        // Writing to a string can't fail.
        let _ = write!(text, ".{micros:06}");
    }
    text
}
