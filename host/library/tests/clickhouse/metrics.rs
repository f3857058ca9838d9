//! What the view says, beside what the events say.

use chrono::{DateTime, TimeDelta, Utc};
use reflow_tracing::storage::{EventMetricsQuery, StorageBackend, StorageError};
use reflow_tracing::{FlowTrace, MessageSnapshot, TraceEvent, TraceEventKind, TraceEventType};

use super::{event, query, storage, trace};

fn start() -> DateTime<Utc> {
    "2026-11-22T10:00:30Z".parse().unwrap()
}

/// Events of several minutes, actors and kinds, whose execution times are far from uniform.
fn measured() -> FlowTrace {
    let events = (0..3_000_u64).map(|number| {
        let mut event = TraceEvent {
            actor_id: ["parser", "mailer", "sink's\0"][number as usize % 3].into(),
            event_type: [TraceEventType::ActorCompleted, TraceEventType::MessageSent][number as usize / 3 % 2].clone(),
            ..event(start() + TimeDelta::milliseconds(number as i64 * 100))
        };
        // What was not measured does not count as 0.
        event.data.performance_metrics.execution_time_ns = (number % 10 != 0).then_some(number * number);
        event.data.message =
            Some(MessageSnapshot { message_type: "Row".into(), size_bytes: number, ..Default::default() });
        event
    });
    FlowTrace { events: events.collect(), ..trace(start()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn averages_and_maxima_match_the_events() {
    let (server, config, storage) = storage().await;
    let stored = measured();
    // In parts, so that states are merged; the last one twice, as one that is sent again.
    for part in stored.events.chunks(700) {
        let part: Vec<_> = part.iter().map(|event| (stored.trace_id, event.clone())).collect();
        storage.store_events(part).await.unwrap();
    }
    storage.store_trace(stored).await.unwrap();

    let direct = "SELECT count(), sum(message_size), avgIf(execution_time_ns, unmeasured = 30), max(execution_time_ns), \
                  quantilesExactIf(0.5, 0.9, 0.95, 0.99)(execution_time_ns, unmeasured = 30) FROM {}.events FINAL \
                  GROUP BY actor_id, event_type ORDER BY actor_id, event_type FORMAT TSV";
    let direct = query(&server, &config, direct);
    let found = storage.event_metrics(&EventMetricsQuery::default()).await.unwrap();
    assert_eq!(found.len(), 6);
    assert_eq!(direct.lines().count(), 6);
    for (found, direct) in found.iter().zip(direct.lines()) {
        let columns: Vec<&str> = direct.split('\t').collect();
        assert_eq!(found.events, columns[0].parse::<u64>().unwrap());
        assert_eq!(found.message_bytes, columns[1].parse::<u64>().unwrap());
        let average: f64 = columns[2].parse().unwrap();
        assert!((found.avg_execution_time_ns.unwrap() / average - 1.0).abs() < 1e-9, "{found:?}, directly {average}");
        assert_eq!(found.max_execution_time_ns.unwrap(), columns[3].parse::<u64>().unwrap());
        let quantiles = found.quantiles_execution_time_ns.unwrap();
        let exact: Vec<f64> =
            columns[4].trim_matches(['[', ']']).split(',').map(|quantile| quantile.parse().unwrap()).collect();
        for (estimated, exact) in [quantiles.p50, quantiles.p90, quantiles.p95, quantiles.p99].into_iter().zip(exact) {
            assert!((estimated / exact - 1.0).abs() < 0.05, "{estimated}, exactly {exact}");
        }
    }
    assert_eq!(found[5].actor_id, "sink's\0");
}

#[tokio::test]
async fn events_are_counted_by_the_minute() {
    let (_server, _config, storage) = storage().await;
    let stored = measured();
    storage.store_trace(stored.clone()).await.unwrap();
    let minutes = storage.events_per_minute(&EventMetricsQuery::default()).await.unwrap();
    let counts: Vec<_> = minutes.iter().map(|minute| minute.events).collect();
    assert_eq!(counts, [300, 600, 600, 600, 600, 300]);
    assert_eq!(minutes[0].minute, "2026-11-22T10:00:00Z".parse::<DateTime<Utc>>().unwrap());

    let some = EventMetricsQuery {
        time_range: Some((start() + TimeDelta::minutes(1), start() + TimeDelta::minutes(2))),
        actor_id: Some("parser".into()),
        event_type: Some(TraceEventKind::MessageSent),
    };
    let counts: Vec<_> = storage.events_per_minute(&some).await.unwrap().iter().map(|minute| minute.events).collect();
    assert_eq!(counts, [100, 100]);
    let found = storage.event_metrics(&some).await.unwrap();
    assert_eq!((found.len(), found[0].events, found[0].event_type), (1, 200, TraceEventKind::MessageSent));

    let none = EventMetricsQuery { actor_id: Some("nobody".into()), ..some.clone() };
    assert_eq!(storage.event_metrics(&none).await.unwrap(), []);
    let (from, to) = some.time_range.unwrap();
    let backwards = EventMetricsQuery { time_range: Some((to, from)), ..some };
    let error = storage.event_metrics(&backwards).await.unwrap_err();
    assert!(matches!(error, StorageError::InvalidArgument(_)), "{error:?}");
}
