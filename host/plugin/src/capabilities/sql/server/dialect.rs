//! What differs between the kinds of servers.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use sqlx::error::DatabaseError;

use super::super::input::InputRows;
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};

/// A kind of database server.
pub(in super::super) trait Dialect: sqlx::Database {
    /// The name of the dialect in the interface.
    const INTERFACE_NAME: &'static str;
    /// The form of a URL, for messages.
    const URL: &'static str;

    /// Parses a URL. The error shows no part of it.
    fn options(url: &str) -> Result<Options<Self>, String>;

    /// Names a session in the server.
    type SessionId: Send + Sync;

    /// The statements that release what a session holds, before its connection is closed.
    const RELEASE: &'static [&'static str];

    /// Sets time limits in the server for statements and idle transactions, for calls that the host cancels.
    fn set_up<'c>(
        connection: &'c mut Self::Connection,
        call_timeout: Duration,
    ) -> BoxFuture<'c, sqlx::Result<Self::SessionId>>;

    /// Makes a session as it was after [`set_up`](Self::set_up), but keeps the statements that the driver prepared. Returns
    /// whether nothing else is left.
    fn reset<'c>(connection: &'c mut Self::Connection, call_timeout: Duration) -> BoxFuture<'c, sqlx::Result<bool>>;

    /// Whether [`reset`](Self::reset) undoes what a statement does to its session, unless it runs code of the database.
    fn is_undone(statement: &str) -> bool;

    /// Whether a statement may define code that other statements run, such as a trigger, and whose effects
    /// [`reset`](Self::reset) does not undo.
    fn defines_code(_statement: &str) -> bool {
        false
    }

    /// Whether the database has such code.
    fn runs_code(_connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<bool>> {
        ready(Ok(false)).boxed()
    }

    /// Whether two idle connections may have the same session, or a connection several.
    fn share_sessions<'c>(
        _one: &'c mut Self::Connection,
        _other: &'c mut Self::Connection,
    ) -> BoxFuture<'c, sqlx::Result<bool>> {
        ready(Ok(false)).boxed()
    }

    /// What the user may do beyond the database.
    fn excessive_right(connection: &mut Self::Connection) -> BoxFuture<'_, sqlx::Result<Option<&'static str>>>;

    /// Tells the server to end a session of the same user. Returns whether it is gone.
    fn end<'c>(connection: &'c mut Self::Connection, id: &'c Self::SessionId) -> BoxFuture<'c, sqlx::Result<bool>>;

    /// Prepares a statement, if it is not cached.
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

    /// The statements to run for the rows. Each may cover several rows.
    fn plan<'c>(
        connection: &'c mut Self::Connection,
        statement: &'c str,
        rows: &'c InputRows<'_>,
    ) -> BoxFuture<'c, Result<Vec<Execution>, SqlError>>;

    /// The arguments of a statement for a range of rows. Fails on a value that does not fit its parameter.
    fn arguments(
        statement: &Self::Statement,
        rows: &InputRows<'_>,
        range: Range<usize>,
    ) -> Result<Self::Arguments, SqlError>;

    fn changed(result: &Self::QueryResult) -> u64;

    /// A value of a row.
    fn value(row: &Self::Row, column: usize) -> Result<Value, SqlError>;

    /// Converts an error of the server.
    fn describe(error: &dyn DatabaseError) -> SqlError;
}

/// Connection options.
pub(in super::super) type Options<D> = <<D as sqlx::Database>::Connection as sqlx::Connection>::Options;

/// The results of statements: the rows of a statement, then the number of rows it changed.
pub(in super::super) type Steps<'c, D> =
    BoxStream<'c, sqlx::Result<sqlx::Either<<D as sqlx::Database>::QueryResult, <D as sqlx::Database>::Row>>>;

/// A statement, and the rows to run it for.
pub(in super::super) struct Execution {
    pub statement: Arc<str>,
    pub rows: Range<usize>,
}

/// Runs the statement once per row.
pub(in super::super) fn one_by_one(statement: &str, rows: &InputRows<'_>) -> Vec<Execution> {
    let statement: Arc<str> = statement.into();
    (0..rows.count()).map(|row| Execution { statement: Arc::clone(&statement), rows: row..row + 1 }).collect()
}

/// `2026-01-31`.
pub(in super::super) fn date_text(year: i32, month: u32, day: u32) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

/// `13:37:00`, with microseconds unless they are 0.
pub(in super::super) fn time_text(hours: u32, minutes: u32, seconds: u32, micros: u32) -> String {
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if micros > 0 {
        // Writing to a string can't fail.
        let _ = write!(text, ".{micros:06}");
    }
    text
}
