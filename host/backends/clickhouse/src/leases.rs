//! Which hosts receive which traces, in the tables `leases` and `held`.
//!
//! The server has no transactions, so what other hosts store between two statements here is not seen.

use std::collections::HashSet;
use std::time::Duration;

use reflow_tracing_model::TraceId;
use reflow_tracing_storage::StorageError;
use uuid::Uuid;

use super::connection::Server;
use super::event::{Id, uuid};
use super::literal;

/// Starts or extends the lease of a host. Returns whether it was valid until now.
pub(super) async fn renew(server: &Server, host: Uuid, duration: Duration) -> Result<bool, StorageError> {
    let (leases, host) = (&server.tables.leases, literal::id(host));
    let valid = format!("SELECT count() FROM ({}) WHERE host = {host}", valid_leases(server));
    let was_valid: u64 = server.row(&valid).await?;
    let milliseconds = duration.as_millis();
    server
        .execute(&format!(
            "INSERT INTO {leases} (host, expires_at, is_over) SETTINGS insert_deduplicate = 0 \
             SELECT {host}, now64(3) + toIntervalMillisecond({milliseconds}), false"
        ))
        .await?;
    Ok(was_valid > 0)
}

/// Notes whether a host holds these traces.
pub(super) async fn hold(server: &Server, host: Uuid, trace_ids: &[TraceId], holds: bool) -> Result<(), StorageError> {
    let ids: Vec<_> = trace_ids.iter().map(|trace_id| format!("'{trace_id}'")).collect();
    server
        .execute(&format!(
            "INSERT INTO {} (trace_id, host, holds) SETTINGS insert_deduplicate = 0 \
             SELECT toUUID(id), {}, {holds} FROM (SELECT arrayJoin([{}]) AS id)",
            server.tables.held,
            literal::id(host),
            ids.join(",")
        ))
        .await
}

/// Those of the traces that a host with a valid lease holds.
pub(super) async fn held(server: &Server, trace_ids: &[TraceId]) -> Result<HashSet<TraceId>, StorageError> {
    let sql = format!(
        "SELECT DISTINCT trace_id FROM (SELECT trace_id, host FROM {} WHERE trace_id IN {} \
         GROUP BY trace_id, host HAVING argMax(holds, at)) WHERE host GLOBAL IN (SELECT host FROM ({}))",
        server.tables.held,
        literal::ids(trace_ids.iter().copied()),
        valid_leases(server)
    );
    Ok(server.rows::<Id>(&sql).await?.into_iter().map(|id| TraceId(uuid(id))).collect())
}

/// The traces that only hosts without a valid lease hold.
pub(super) async fn abandoned(server: &Server, limit: usize) -> Result<Vec<(Uuid, TraceId)>, StorageError> {
    let (leases, held_table) = (&server.tables.leases, &server.tables.held);
    // Few hosts die, so `held` is seldom read.
    let expired = format!(
        "SELECT host FROM {leases} GROUP BY host HAVING argMax(expires_at, at) <= now64(3) AND NOT argMax(is_over, at)"
    );
    let mut abandoned = Vec::new();
    for host in server.rows::<Id>(&expired).await?.into_iter().map(uuid) {
        let sql = format!(
            "SELECT trace_id FROM {held_table} WHERE host = {} GROUP BY trace_id HAVING argMax(holds, at) LIMIT {limit}",
            literal::id(host)
        );
        let traces: Vec<_> = server.rows::<Id>(&sql).await?.into_iter().map(|id| TraceId(uuid(id))).collect();
        if traces.is_empty() {
            let over = format!(
                "INSERT INTO {leases} (host, expires_at, is_over) SETTINGS insert_deduplicate = 0 \
                 SELECT {}, now64(3), true",
                literal::id(host)
            );
            server.execute(&over).await?;
            continue;
        }
        let held = held(server, &traces).await?;
        abandoned
            .extend(traces.into_iter().filter(|trace_id| !held.contains(trace_id)).map(|trace_id| (host, trace_id)));
        if abandoned.len() >= limit {
            break;
        }
    }
    abandoned.truncate(limit);
    Ok(abandoned)
}

/// The statement that selects the hosts with a valid lease.
fn valid_leases(server: &Server) -> String {
    format!("SELECT host FROM {} GROUP BY host HAVING argMax(expires_at, at) > now64(3)", server.tables.leases)
}
