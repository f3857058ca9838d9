//! Finds poolers that share the sessions of a server between clients.
//!
//! A host locks and sets things for its session. Behind a pooler in transaction mode (PgBouncer's `pool_mode = transaction`),
//! each transaction may run in another session, which other clients use too.

use sqlx::{Executor, PgConnection, Row};

/// Whether two connections that are idle may share a session, or one connection uses several.
pub async fn share_sessions(one: &mut PgConnection, other: &mut PgConnection) -> sqlx::Result<bool> {
    let before = process(one).await?;
    // A pooler gives out the session that was used last, or else the one that was not used for longest. Here the first sees the
    // one session in both transactions; the second sees that it was given another.
    other.execute(sqlx::raw_sql("BEGIN")).await?;
    let meanwhile = process(other).await?;
    // If both have the same, the first would wait for the end of the transaction.
    let shared = meanwhile == before || process(one).await? != before;
    other.execute(sqlx::raw_sql("ROLLBACK")).await?;
    Ok(shared)
}

/// Names the session: several servers may share an address, and have processes of the same number.
async fn process(connection: &mut PgConnection) -> sqlx::Result<String> {
    // Not prepared: a statement that is prepared in one session is missing in another.
    let sql =
        "SELECT pid || ' ' || backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";
    connection.fetch_one(sqlx::raw_sql(sql)).await?.try_get(0)
}
