//! What stands between a client and its servers: a cluster's machinery, or trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Passes requests on to the first of some servers. A statement `ON CLUSTER` it runs on each of them, as a cluster with a
/// Keeper does; without one, tables can't be replicated, so it makes plain ones of them.
pub struct Proxy {
    /// `http://HOST:PORT`.
    pub url: String,
    trouble: Arc<Trouble>,
}

/// How many of the next inserts get into trouble.
#[derive(Default)]
struct Trouble {
    /// Cut off in the middle.
    cut: AtomicUsize,
    /// Done, but nobody learns of it.
    unanswered: AtomicUsize,
    /// Held up for so many milliseconds.
    delay: AtomicUsize,
    inserts: AtomicUsize,
}

impl Proxy {
    pub async fn start(servers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let trouble = Arc::new(Trouble::default());
        let (servers, of_connections) = (Arc::new(servers), trouble.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (servers, trouble) = (servers.clone(), of_connections.clone());
                tokio::spawn(async move {
                    // The client may be gone; ignore the error.
                    let _ = pass(client, &servers, &trouble).await;
                });
            }
        });
        Self { url, trouble }
    }

    /// Cuts the next inserts off in the middle.
    pub fn cut_inserts(&self, count: usize) {
        self.trouble.cut.store(count, Ordering::SeqCst);
    }

    /// Lets the next inserts come to their end and loses the answers.
    pub fn lose_answers(&self, count: usize) {
        self.trouble.unanswered.store(count, Ordering::SeqCst);
    }

    /// Holds every insert up.
    pub fn delay_inserts(&self, delay: Duration) {
        self.trouble.delay.store(usize::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Inserts that were sent so far.
    pub fn inserts(&self) -> usize {
        self.trouble.inserts.load(Ordering::SeqCst)
    }
}

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

/// One request: the connection ends with its answer, because the next one may go elsewhere.
async fn pass(mut client: TcpStream, servers: &[String], trouble: &Trouble) -> std::io::Result<()> {
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
        trouble.inserts.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(trouble.delay.load(Ordering::SeqCst) as u64)).await;
        if take(&trouble.cut) {
            server.write_all(&body).await?;
            let mut more = vec![0; 1_000];
            let read = client.read(&mut more).await?;
            server.write_all(&more[..read]).await?;
            return Ok(());
        }
        if take(&trouble.unanswered) {
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
