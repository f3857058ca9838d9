//! The plugin `redis`.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, pipe};
use reflow_tracing::plugin::{Grants, PluginBackend, PluginConfig, RedisGrant};
use reflow_tracing::storage::StorageBackend;
use reflow_tracing::{TraceEvent, TraceId};
use reflow_tracing_tests::plugin;
use reflow_tracing_tests::servers::RedisServer;

use crate::measure::{Rounds, seconds_each};
use crate::report::{Path, Reach, Report, Unit};
use crate::workload::{Batch, Workload, in_batches};
use crate::{BATCH, Sizes};

const BATCHES: Path = Path {
    name: "plugin redis: events in batches of 1,000",
    floor: "the same commands, pipelined, with ready bodies",
    unit: Unit::Rate,
    reach: Reach::Speed(0.9),
};

pub async fn measure(sizes: &Sizes, report: &mut Report) -> Result<()> {
    if report.wants(&BATCHES) {
        report.compared(&BATCHES, &batches(sizes).await?);
    }
    Ok(())
}

async fn batches(sizes: &Sizes) -> Result<Rounds> {
    // The servers run one after the other, so that neither disturbs the other.
    let (encoder, native, under_plugin) = (RedisServer::start(), RedisServer::start(), RedisServer::start());
    let encode = open(&encoder).await?;
    let plugin = open(&under_plugin).await?;
    let (encoded, floor) = (connect(&encoder).await?, connect(&native).await?);
    let mut workload = Workload::new()?;
    let mut rounds = Rounds::new(sizes.rounds);
    while rounds.more() {
        let events = workload.events(sizes.events);
        encode.store_events(events.clone()).await?;
        let mut batches = Vec::new();
        for batch in in_batches(events.clone(), BATCH) {
            let bodies = bodies(&encoded, &batch).await?;
            batches.push((batch, bodies));
        }
        let native = async || {
            let mut floor = floor.clone();
            let start = Instant::now();
            for (batch, bodies) in &batches {
                for pipeline in pipelines(batch, bodies)? {
                    pipeline.exec_async(&mut floor).await?;
                }
            }
            Ok(seconds_each(start, sizes.events))
        };
        rounds.round(native, async || crate::paths::store(&plugin, events.clone()).await).await?;
        redis::cmd("FLUSHALL").exec_async(&mut encoded.clone()).await?;
    }
    let keys = async |mut connection: MultiplexedConnection| -> Result<u64> {
        Ok(redis::cmd("DBSIZE").query_async(&mut connection).await?)
    };
    ensure!(keys(floor).await? == keys(connect(&under_plugin).await?).await?, "path and floor stored different keys");
    Ok(rounds)
}

async fn open(server: &RedisServer) -> Result<PluginBackend> {
    let grant = RedisGrant { url: server.url(), ..RedisGrant::default() };
    let grants = Grants { redis: [("default".into(), grant)].into(), ..Grants::default() };
    let config = PluginConfig { grants, ..PluginConfig::default() };
    Ok(PluginBackend::load("redis", &plugin("redis"), &config).await?)
}

async fn connect(server: &RedisServer) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(redis::Client::open(server.url())?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// The bodies of the events, as the plugin has stored them.
async fn bodies(stored: &MultiplexedConnection, batch: &Batch) -> Result<Vec<Vec<u8>>> {
    let mut read = pipe();
    for (id, event) in batch {
        read.cmd("HGET").arg(format!("bodies:{id}")).arg(place(event)?);
    }
    Ok(read.query_async(&mut stored.clone()).await?)
}

/// The commands that the plugin sends for a batch, one pipeline per round trip.
fn pipelines(batch: &Batch, bodies: &[Vec<u8>]) -> Result<[Pipeline; 4]> {
    let traces: BTreeSet<TraceId> = batch.iter().map(|(trace_id, _)| *trace_id).collect();
    let (mut before, mut question, mut store, mut after) = (pipe(), pipe(), pipe(), pipe());
    before.cmd("SET").arg("layout").arg("2");
    after.cmd("MGET").arg(traces.iter().map(|id| format!("index:{id}")).collect::<Vec<_>>());
    for id in traces {
        let note = redis::cmd("ZADD").arg("traces").arg("+inf").arg(id.as_uuid().as_bytes()).take();
        before.add_command(note.clone());
        for kind in ["events", "bodies", "trace"] {
            before.cmd("PERSIST").arg(format!("{kind}:{id}"));
        }
        after.add_command(note);
    }
    for ((id, event), body) in batch.iter().zip(bodies) {
        let place = place(event)?;
        question.cmd("HEXISTS").arg(format!("bodies:{id}")).arg(&place);
        let error = if event.data.error.is_some() { "e1" } else { "e0" };
        let (actor, kind) = (format!("a{}", event.actor_id), format!("k{}", event.event_type.kind().name()));
        store.cmd("ZADD").arg(format!("events:{id}")).arg("0").arg(&place);
        store.cmd("SADD").arg(format!("about:{id}")).arg(actor).arg(kind).arg(error);
        store.cmd("HSETNX").arg(format!("bodies:{id}")).arg(&place).arg(body);
    }
    Ok([before, question, store, after])
}

fn place(event: &TraceEvent) -> Result<Vec<u8>> {
    let nanos = event.timestamp.timestamp_nanos_opt().context("a time that can't be stored")?;
    let time = (nanos.cast_unsigned() ^ (1 << 63)).to_be_bytes();
    Ok([time.as_slice(), event.event_id.as_uuid().as_bytes()].concat())
}
