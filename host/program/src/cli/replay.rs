use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use futures::{SinkExt, StreamExt, future};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use super::host::HostArgs;
use super::output;
use super::printable::printable;
use super::recording::{self, Frame};
use crate::client::{Connection, HostUrl};
use crate::server::reflow::{TraceResponse, TracingResponse};
use reflow_tracing::TraceId;

/// The frames of a connection that may await an answer: enough to hide the round trip, and no more than the server accepts
/// at once.
const WINDOW: usize = 256;

/// The most failures that are printed; the others are counted.
const SHOWN_FAILURES: usize = 10;

/// Send a recorded session to a running host, as fast as it accepts it
///
/// Each line of the file is a frame: {"connection": "ID", "at_ms": 1.5, "frame": REQUEST}. The connections of the
/// recording are replayed in parallel. The command ends when every trace is complete in the store.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// The recording; - for stdin
    file: PathBuf,
}

/// The outcome of some frames.
#[derive(Default)]
struct Outcome {
    acknowledged: usize,
    started: Vec<TraceId>,
    failed: usize,
    /// The first of them, by line.
    failures: Vec<(usize, String)>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let connections = read(&args.file)?;
    let url = args.host.url()?;

    let replayed = future::join_all(connections.iter().map(|frames| replay(&url, frames))).await;
    let mut total = Outcome::default();
    let mut broken = None;
    for (outcome, result) in replayed {
        total.add(outcome);
        broken = broken.or(result.err());
    }
    let frames = connections.iter().map(Vec::len).sum::<usize>();
    if broken.is_none() || total.acknowledged + total.failed > 0 {
        output::print(|out| total.write(out, connections.len(), frames))?;
    }
    match (broken, total.failed) {
        (Some(error), _) => Err(error),
        (None, 0) => Ok(()),
        (None, failed) => bail!("{failed} of {frames} frames failed"),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Vec<Frame>>> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("can't read the recording from stdin")?;
    } else {
        text =
            std::fs::read_to_string(file).with_context(|| format!("can't read the recording `{}`", file.display()))?;
    }
    recording::parse(&text).map_err(|error| anyhow!("{}: {error}; nothing was sent", file.display()))
}

/// Sends the frames of one connection. Returns also the outcome up to an error.
async fn replay(url: &HostUrl, frames: &[Frame]) -> (Outcome, anyhow::Result<()>) {
    let mut outcome = Outcome::default();
    let result = exchange(url, frames, &mut outcome).await;
    (outcome, result)
}

async fn exchange(url: &HostUrl, frames: &[Frame], outcome: &mut Outcome) -> anyhow::Result<()> {
    let (mut sink, mut stream) = Connection::open(url).await?.into_socket().split();
    let window = Semaphore::new(WINDOW);
    let lost = || format!("lost the connection to {url}");

    // Concurrently: the server stops reading when nobody reads its answers.
    let send = async {
        for frame in frames {
            window.acquire().await.context("the window is never closed")?.forget();
            sink.feed(Message::text(frame.json.clone())).await.with_context(lost)?;
            if window.available_permits() == 0 {
                sink.flush().await.with_context(lost)?;
            }
        }
        sink.flush().await.with_context(lost)
    };
    let receive = async {
        let mut unanswered = frames.iter();
        while !unanswered.as_slice().is_empty() {
            let text = match stream.next().await.transpose().with_context(lost)? {
                Some(Message::Text(text)) => text,
                Some(Message::Ping(_) | Message::Pong(_)) => continue,
                Some(Message::Close(_)) | None => {
                    bail!("{url} closed the connection with {} answers outstanding", unanswered.len())
                }
                Some(other) => bail!("{url} sent an unexpected message: {other:?}"),
            };
            let Some(answer) = Answer::parse(&text)? else { continue };
            if let Some(frame) = unanswered.next() {
                outcome.note(frame.line, answer);
            }
            window.add_permits(1);
        }
        Ok(())
    };
    future::try_join(send, receive).await?;

    sink.close().await.with_context(lost)?;
    // The server closes once the traces are complete.
    while let Some(message) = stream.next().await {
        message.with_context(lost)?;
    }
    Ok(())
}

/// The server's answer to a frame.
enum Answer {
    Done,
    Started(TraceId),
    Failed(String),
}

impl Answer {
    /// `None` for a notification, which answers nothing.
    fn parse(text: &str) -> anyhow::Result<Option<Self>> {
        if let Ok(response) = serde_json::from_str(text) {
            return Ok(Some(match response {
                TracingResponse::EventNotification { .. } => return Ok(None),
                TracingResponse::TraceStarted { trace_id } => Self::Started(trace_id),
                TracingResponse::EventRecorded { success: false, error } => Self::Failed(error.unwrap_or_default()),
                TracingResponse::Error { message, .. } => Self::Failed(message),
                _ => Self::Done,
            }));
        }
        match serde_json::from_str(text)
            .with_context(|| format!("the server's answer is not a message of Reflow's protocol: {text}"))?
        {
            TraceResponse::Error { message } => Ok(Some(Self::Failed(message))),
            _ => Ok(Some(Self::Done)),
        }
    }
}

impl Outcome {
    fn note(&mut self, line: usize, answer: Answer) {
        match answer {
            Answer::Done => self.acknowledged += 1,
            Answer::Started(trace_id) => {
                self.acknowledged += 1;
                self.started.push(trace_id);
            }
            Answer::Failed(error) => {
                self.failed += 1;
                if self.failures.len() < SHOWN_FAILURES {
                    self.failures.push((line, error));
                }
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.started.extend(other.started);
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }

    fn write(&mut self, out: &mut dyn Write, connections: usize, frames: usize) -> std::io::Result<()> {
        writeln!(out, "connections   {connections}")?;
        writeln!(out, "frames        {frames}")?;
        writeln!(out, "acknowledged  {}", self.acknowledged)?;
        writeln!(out, "failed        {}", self.failed)?;
        self.failures.sort();
        for (line, error) in self.failures.iter().take(SHOWN_FAILURES) {
            writeln!(out, "  line {line}: {}", printable(error))?;
        }
        if self.failed > SHOWN_FAILURES {
            writeln!(out, "  and {} more", self.failed - SHOWN_FAILURES)?;
        }
        writeln!(out, "traces        {}", self.started.len())?;
        self.started.iter().try_for_each(|trace_id| writeln!(out, "  {trace_id}"))
    }
}
