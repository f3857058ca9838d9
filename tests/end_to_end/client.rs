//! Reflow's real client against a running host.

use std::time::{Duration, Instant};

use reflow_tracing_protocol::client::{TracingClient, TracingIntegration};
use reflow_tracing_protocol::{FlowTrace, TraceEventType};
#[cfg(unix)]
use reflow_tracing_tests::servers::{ClickHouse, Postgres};
use reflow_tracing_tests::{Backend, Host, Setting};

/// The stored traces, once they have the expected number of events: the client does not wait for acknowledgements.
async fn stored(setting: &Setting, events: usize) -> Vec<FlowTrace> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let traces = setting.traces();
        let found: usize = traces.iter().map(|trace| trace.events.len()).sum();
        if found == events || Instant::now() > deadline {
            assert_eq!(found, events, "events stored");
            return traces;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_reflows_client_are_read_back() {
    #[allow(unused_mut)]
    let mut settings = Vec::from(Backend::DURABLE.map(Setting::new));
    #[cfg(unix)]
    let (postgres, clickhouse) = (Postgres::start(), ClickHouse::shared());
    #[cfg(unix)]
    settings.extend([Setting::on_postgres(&postgres), Setting::on_clickhouse(&clickhouse)]);
    for setting in settings {
        let host = Host::start(&setting);
        let client = TracingClient::with_server_url(&host.url);
        client.connect().await.expect("the host listens");
        let program = TracingIntegration::new(client);

        program.start_flow_trace("orders").await.expect("sent");
        program.trace_actor_created("reader").await.expect("sent");
        for _ in 0..20 {
            program.trace_message_sent("reader", "out", "Order", 512).await.expect("sent");
        }
        program.trace_actor_completed("reader").await.expect("sent");

        let traces = stored(&setting, 22).await;
        assert_eq!(traces.len(), 1);
        assert_eq!(traces[0].flow_id.as_str(), "orders");
        let kinds: Vec<_> = traces[0].events.iter().map(|event| &event.event_type).collect();
        assert_eq!(kinds.first(), Some(&&TraceEventType::ActorCreated));
        assert_eq!(kinds.last(), Some(&&TraceEventType::ActorCompleted));
        let message = traces[0].events[1].data.message.as_ref().expect("a message");
        assert_eq!((message.message_type.as_str(), message.size_bytes), ("Order", 512));
    }
}
