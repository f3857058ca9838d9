//! A plugin that computes forever does not starve the others.

use std::time::Duration;

use futures::future::join_all;
use reflow_tracing::plugin::Limits;
use reflow_tracing::storage::StorageBackend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Hostile, limits};

/// More instances than the runtime has workers, each of which computes until it is stopped.
const SPINNING: usize = 8;

/// Echoes over a socket, and timers: the work of a host besides its plugins.
async fn sockets_and_timers(rounds: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let echo = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut byte = [0];
        while stream.read(&mut byte).await.expect("it reads") == 1 {
            stream.write_all(&byte).await.expect("it writes");
        }
    };
    let talk = async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        for round in 0..rounds {
            stream.write_all(&[round as u8]).await.expect("it writes");
            assert_eq!(stream.read_u8().await.expect("it answers"), round as u8);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(echo, talk);
}

async fn others_go_on_beside_spinning_instances() {
    let busy = Hostile::load(Limits { instances: SPINNING, call_timeout_ms: 60_000, cpu_ms: 60_000, ..limits() }).await;
    let calm = Hostile::load(Limits { instances: 1, call_timeout_ms: 2_000, ..limits() }).await;
    let spinning = join_all((0..SPINNING).map(|_| busy.misbehave("spin")));
    let going_on = async {
        // Each of these calls has its own time limit, and the whole must be over while the others still spin.
        for _ in 0..50 {
            calm.backend.health_check().await.expect("the other plugin answers");
        }
        sockets_and_timers(50).await;
    };
    tokio::select! {
        biased;
        _ = spinning => panic!("the others did not get their share while it computed"),
        () = going_on => {}
    }
    // The spinning calls were cancelled and have ended.
    busy.backend.health_check().await.expect("its instances were replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_plugin_leaves_two_workers_to_the_others() {
    tokio::spawn(others_go_on_beside_spinning_instances()).await.expect("it ends");
}

#[tokio::test]
async fn a_spinning_plugin_leaves_the_only_worker_to_the_others() {
    others_go_on_beside_spinning_instances().await;
}
