//! Statements on one connection.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use sqlx::{Column as _, Either, Row as _, Statement as _};

use super::super::cursor::{FETCH_BYTES, FETCH_ROWS, Rows};
use super::super::database::MAX_VALUE_BYTES;
use super::super::error::{no_such_column, row_too_large};
use super::super::input::{Input, InputRows, looked_up};
use super::dialect::{Dialect, Execution, Steps, one_by_one};
use super::error::describe;
use crate::contract::bindings::reflow::capabilities::sql::{SqlError, Value};
use crate::contract::budget::Budget;

/// Runs a statement of the host.
pub(super) async fn command<D: Dialect>(connection: &mut D::Connection, statement: &str) -> Result<(), SqlError> {
    script::<D>(connection, statement.into()).await.map(|_| ())
}

/// Runs statements without parameters. Returns the number of rows that the last one changed.
pub(super) async fn script<D: Dialect>(connection: &mut D::Connection, statements: String) -> Result<u64, SqlError> {
    let mut steps = D::script(connection, statements);
    let mut changed = 0;
    while let Some(step) = steps.try_next().await.map_err(describe::<D>)? {
        if let Either::Left(result) = step {
            changed = D::changed(&result);
        }
    }
    Ok(changed)
}

/// Runs a statement for all rows, atomically and as few times as the dialect allows. Returns the number of changed rows.
pub(super) async fn execute_rows<D: Dialect>(
    connection: &mut D::Connection,
    statement: &str,
    rows: &mut InputRows<'_>,
    in_transaction: bool,
) -> Result<u64, SqlError> {
    let executions = D::plan(connection, statement, rows).await?;
    if executions.len() <= 1 && rows.lookups() == 0 {
        // A single statement is atomic.
        return run_all::<D>(connection, rows, &executions).await;
    }
    let (begin, commit, undo) = if in_transaction {
        ("SAVEPOINT reflow_call", "RELEASE SAVEPOINT reflow_call", "ROLLBACK TO SAVEPOINT reflow_call")
    } else {
        ("BEGIN", "COMMIT", "ROLLBACK")
    };
    command::<D>(connection, begin).await?;
    let result = async {
        look_up::<D>(connection, rows).await?;
        let changed = run_all::<D>(connection, rows, &executions).await?;
        command::<D>(connection, commit).await?;
        Ok(changed)
    }
    .await;
    if result.is_err() {
        // Fails only on a lost connection, or when the server has already rolled back.
        let _ = command::<D>(connection, undo).await;
    }
    result
}

/// Runs the lookups.
async fn look_up<D: Dialect>(connection: &mut D::Connection, rows: &mut InputRows<'_>) -> Result<(), SqlError> {
    for lookup in 0..rows.lookups() {
        let (statement, wanted) = rows.lookup(lookup);
        let mut found = HashMap::with_capacity(wanted.len());
        let text: Arc<str> = statement.into();
        for uuid in wanted {
            let prepared = D::prepare(connection, &text).await.map_err(describe::<D>)?;
            let arguments = D::arguments(&prepared, &InputRows::of_uuid(uuid), 0..1)?;
            let mut steps = D::run(connection, &text, arguments);
            let mut value = None;
            while let Some(step) = steps.try_next().await.map_err(describe::<D>)? {
                if let (Either::Right(row), None) = (step, &value) {
                    value = Some(D::value(&row, 0)?);
                }
            }
            found.insert(uuid, looked_up(statement, uuid, value)?);
        }
        rows.resolve(lookup, &found);
    }
    Ok(())
}

async fn run_all<D: Dialect>(
    connection: &mut D::Connection,
    rows: &InputRows<'_>,
    executions: &[Execution],
) -> Result<u64, SqlError> {
    let mut changed = 0;
    for execution in executions {
        let prepared = D::prepare(connection, &execution.statement).await.map_err(describe::<D>)?;
        let arguments = D::arguments(&prepared, rows, execution.rows.clone())?;
        let mut steps = D::run(connection, &execution.statement, arguments);
        while let Some(step) = steps.try_next().await.map_err(describe::<D>)? {
            if let Either::Left(result) = step {
                changed += D::changed(&result);
            }
        }
    }
    Ok(changed)
}

/// A query that is ready to run.
pub(super) struct Query<D: Dialect> {
    pub statement: Arc<str>,
    pub columns: Vec<String>,
    pub arguments: D::Arguments,
}

impl<D: Dialect> Query<D> {
    pub(super) async fn prepare(
        connection: &mut D::Connection,
        statement: &str,
        params: &[Value],
    ) -> Result<Self, SqlError> {
        let statement: Arc<str> = statement.into();
        let prepared = D::prepare(connection, &statement).await.map_err(describe::<D>)?;
        let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
        let arguments = D::arguments(&prepared, &InputRows::of_one(params), 0..1)?;
        Ok(Self { statement, columns, arguments })
    }
}

/// Runs a statement once, with these parameters.
pub(super) async fn execute<D: Dialect>(
    connection: &mut D::Connection,
    statement: &str,
    params: &[Value],
) -> Result<u64, SqlError> {
    let row = InputRows::of_one(params);
    run_all::<D>(connection, &row, &one_by_one(statement, &row)).await
}

/// The bodies in column `body` of the answer.
pub(super) async fn query_bodies<D: Dialect>(
    connection: &mut D::Connection,
    statement: &str,
    params: &[Value],
    body: u32,
    budget: &Budget,
) -> Result<Vec<Vec<u8>>, SqlError> {
    let query = Query::<D>::prepare(connection, statement, params).await?;
    let mut steps = D::run(connection, &query.statement, query.arguments);
    let (mut bodies, mut budget, mut refusal) = (Vec::new(), budget.clone(), None);
    while let Some(step) = steps.try_next().await.map_err(describe::<D>)? {
        // The answer is always read to its end, so that the connection can be reused.
        let Either::Right(row) = step else { continue };
        if refusal.is_some() {
            continue;
        }
        let stored = body_of::<D>(&row, body).and_then(|stored| {
            budget.take_list([stored.len()])?;
            Ok(stored)
        });
        match stored {
            Ok(stored) => bodies.push(stored),
            Err(error) => {
                bodies = Vec::new();
                refusal = Some(error);
            }
        }
    }
    refusal.map_or(Ok(bodies), Err)
}

fn body_of<D: Dialect>(row: &D::Row, body: u32) -> Result<Vec<u8>, SqlError> {
    if body as usize >= row.len() {
        return Err(no_such_column(body, row.len()));
    }
    match D::value(row, body as usize)? {
        Value::Blob(stored) => Ok(stored),
        _ => Err(SqlError::Conversion(format!("column {body} is not a blob, so it can't hold the body of an event"))),
    }
}

/// The next rows, fewer when they are large, and whether they are the last.
pub(super) async fn fetch<D: Dialect>(steps: &mut Steps<'_, D>) -> Result<(Rows, bool), SqlError> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while page.len() < FETCH_ROWS && bytes < FETCH_BYTES {
        match steps.try_next().await.map_err(describe::<D>)? {
            Some(Either::Right(row)) => {
                let (mut values, before) = (Vec::with_capacity(row.len()), bytes);
                for column in 0..row.len() {
                    let value = D::value(&row, column)?;
                    let size = Input::from(&value).size();
                    if size > MAX_VALUE_BYTES {
                        return Err(SqlError::LimitExceeded(format!(
                            "a value has {size} bytes; the maximum is {MAX_VALUE_BYTES}"
                        )));
                    }
                    bytes += Input::from(&value).held();
                    if bytes - before > MAX_VALUE_BYTES + row.len() * Input::PLACE {
                        return Err(row_too_large(MAX_VALUE_BYTES));
                    }
                    values.push(value);
                }
                page.push(values);
            }
            Some(Either::Left(_)) => {}
            None => return Ok((page, true)),
        }
    }
    Ok((page, false))
}
