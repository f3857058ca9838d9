//! A proxy between a client and its servers, which simulates a cluster or faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Forwards requests to the first server. Runs a statement `ON CLUSTER` on each server, as a cluster with a Keeper does, but makes
/// replicated tables plain ones, because replication needs a Keeper.
pub struct Proxy {
    /// `http://HOST:PORT`.
    pub url: String,
    faults: Arc<Faults>,
}

/// The faults of the next inserts.
#[derive(Default)]
struct Faults {
    /// The number of inserts to interrupt.
    cut: AtomicUsize,
    /// The number of inserts whose answer is lost.
    unanswered: AtomicUsize,
    /// The delay of each insert in milliseconds.
    delay: AtomicUsize,
    inserts: AtomicUsize,
}

impl Proxy {
    pub async fn start(servers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let faults = Arc::new(Faults::default());
        let (servers, of_connections) = (Arc::new(servers), faults.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (servers, faults) = (servers.clone(), of_connections.clone());
                tokio::spawn(async move {
                    // The client may be gone; ignore the error.
                    let _ = pass(client, &servers, &faults).await;
                });
            }
        });
        Self { url, faults }
    }

    /// Interrupts the next inserts.
    pub fn cut_inserts(&self, count: usize) {
        self.faults.cut.store(count, Ordering::SeqCst);
    }

    /// Completes the next inserts and loses their answers.
    pub fn lose_answers(&self, count: usize) {
        self.faults.unanswered.store(count, Ordering::SeqCst);
    }

    /// Delays every insert.
    pub fn delay_inserts(&self, delay: Duration) {
        self.faults.delay.store(usize::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// The number of inserts so far.
    pub fn inserts(&self) -> usize {
        self.faults.inserts.load(Ordering::SeqCst)
    }
}

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

/// Handles one request. The connection ends after the answer, because the next request may go to another server.
async fn pass(mut client: TcpStream, servers: &[String], faults: &Faults) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut received = Vec::new();
    let end = loop {
        if let Some(end) = received.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut body = received.split_off(end + 4);
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, length)| length.trim().parse::<usize>().unwrap());
    if let Some(length) = length {
        while body.len() < length {
            if client.read_buf(&mut body).await? == 0 {
                return Ok(());
            }
        }
        let statement = String::from_utf8_lossy(&body).into_owned();
        if statement.contains(" ON CLUSTER `cluster`") {
            return on_each(&mut client, servers, &head, &statement).await;
        }
    }
    let mut server = TcpStream::connect(&servers[0]).await?;
    server.set_nodelay(true)?;
    server.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    // Inserts name their columns in the address and send rows, however many there are.
    if length.is_none() {
        faults.inserts.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(faults.delay.load(Ordering::SeqCst) as u64)).await;
        if take(&faults.cut) {
            server.write_all(&body).await?;
            let mut more = vec![0; 1_000];
            let read = client.read(&mut more).await?;
            server.write_all(&more[..read]).await?;
            return Ok(());
        }
        if take(&faults.unanswered) {
            let (mut from_client, _) = client.split();
            let (mut answer, mut to_server) = server.split();
            to_server.write_all(&body).await?;
            let rest = async { tokio::io::copy(&mut from_client, &mut to_server).await };
            let mut byte = [0];
            tokio::select! {
                answered = answer.read(&mut byte) => { answered?; }
                sent = rest => { sent?; }
            }
            return Ok(());
        }
    }
    server.write_all(&body).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn on_each(client: &mut TcpStream, servers: &[String], head: &str, statement: &str) -> std::io::Result<()> {
    let statement = statement
        .replace(" ON CLUSTER `cluster`", "")
        .replace("ENGINE = Replicated", "ENGINE = ")
        .replace("replicated_deduplication_window", "non_replicated_deduplication_window");
    let head: Vec<_> = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length")).collect();
    let head = head.join("\r\n");
    let mut answer = Vec::new();
    for server in servers {
        let mut server = TcpStream::connect(server).await?;
        let length = statement.len();
        let request = format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{statement}");
        server.write_all(request.as_bytes()).await?;
        answer.clear();
        server.read_to_end(&mut answer).await?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    client.write_all(&answer).await
}
