//! Reads an export: first checks the whole file, then streams its parts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use reflow_tracing_model::{EventKey, FlowTrace, TraceEvent};
use reflow_tracing_storage::StorageError;
use reflow_tracing_storage::streaming::BatchBudget;
use tokio::sync::mpsc;

use super::line::{self, Manifest, OwnedRecord};
use crate::counts::{Counter, Counts};
use crate::digest::Digest;
use crate::read_ahead::read_in_thread;
use crate::store_stream::{StorePart, StoreStream, StreamPosition};

/// The magic number of a compressed file.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The size of a read.
const BUFFER: usize = 256 << 10;

/// A problem with a line.
#[derive(Debug)]
pub(super) struct Problem {
    pub line: u64,
    pub problem: String,
}

/// The contents of a checked file.
#[derive(Debug)]
pub(super) struct Checked {
    pub digest: Digest,
    /// The earliest and the latest start of a trace.
    pub range: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Reads and checks the whole file, and returns a summary of its contents.
pub(super) fn check(file: &Arc<File>) -> Result<Checked, Problem> {
    let mut reader = Reader::open(file)?;
    let mut range = None;
    while let Some(part) = reader.next()? {
        if let StorePart::Header(FlowTrace { start_time, .. }) = part {
            let (first, _) = *range.get_or_insert((start_time, start_time));
            range = Some((first, start_time));
        }
    }
    Ok(Checked { digest: reader.counter.counts().digest, range })
}

/// The parts of a checked file.
pub(super) fn parts(file: Arc<File>) -> StoreStream<'static> {
    // The thread reads, decompresses and decodes.
    let batches = read_in_thread(1, move |sender| {
        if let Err(Problem { line, problem }) = send(&file, &sender) {
            let message = format!("line {line} changed after the file was checked: {problem}");
            let _ = sender.blocking_send(Err(StorageError::Corrupt(message)));
        }
    });
    batches.map_ok(|parts| stream::iter(parts.into_iter().map(Ok))).try_flatten().boxed()
}

/// Sends the parts in batches, until the receiver is gone.
fn send(file: &Arc<File>, sender: &mpsc::Sender<Result<Vec<StorePart>, StorageError>>) -> Result<(), Problem> {
    let mut reader = Reader::open(file)?;
    let (mut parts, mut events) = (Vec::new(), 0);
    loop {
        let part = reader.next()?;
        let is_end = part.is_none();
        if let Some(StorePart::Events(part)) = &part {
            events += part.len();
        }
        parts.extend(part);
        if is_end || events >= 1_000 || parts.len() >= 1_000 {
            if sender.blocking_send(Ok(std::mem::take(&mut parts))).is_err() || is_end {
                return Ok(());
            }
            events = 0;
        }
    }
}

/// A reader from the start of a file with its own position, so that several readers don't interfere.
struct FromStart {
    file: Arc<File>,
    offset: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.offset)?;
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// The lines of a file, from its beginning.
struct Lines {
    input: Box<dyn BufRead + Send>,
    /// Of the last line.
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    fn open(file: &Arc<File>) -> io::Result<Self> {
        let input = || BufReader::with_capacity(BUFFER, FromStart { file: Arc::clone(file), offset: 0 });
        let mut start = Vec::new();
        input().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start)?;
        let input: Box<dyn BufRead + Send> = if start == ZSTD_MAGIC {
            Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::with_buffer(input())?))
        } else {
            Box::new(input())
        };
        Ok(Self { input, number: 0, line: Vec::new() })
    }

    /// The record in the next line; `None` after the last.
    fn next(&mut self) -> Result<Option<OwnedRecord>, Problem> {
        self.line.clear();
        self.number += 1;
        let most = if self.number == 1 { line::MAX_HEAD_BYTES } else { line::MAX_BYTES };
        match (&mut self.input).take(most).read_until(b'\n', &mut self.line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.problem("the compressed data is cut off in this line or before it"));
            }
            Err(error) => return Err(self.problem(format!("reading the file failed: {error}"))),
        }
        if self.line.pop_if(|last| *last == b'\n').is_none() {
            let cut_off = (self.line.len() as u64) < most;
            let too_long = || format!("it is longer than {} KiB, the most that a line may have", most >> 10);
            let problem = if cut_off { "it is cut off: the file is not complete".into() } else { too_long() };
            // For a first line, the error is that the file is not an export.
            if self.number > 1 || line::version(&self.line).is_some() {
                return Err(self.problem(problem));
            }
        }
        if self.number == 1
            && let Some(version) = line::version(&self.line)
            && version > line::VERSION.into()
        {
            return Err(self.problem(format!(
                "the file has version {version}, this program reads {}: it was written by a newer one; update this one",
                line::VERSION
            )));
        }
        line::read(&mut self.line, self.number).map(Some).map_err(|problem| {
            let hint = if self.number == 1 { "; was it written by `reflow-tracing export`?" } else { "" };
            self.problem(format!("{problem}{hint}"))
        })
    }

    /// Whether more data follows.
    fn next_is_there(&mut self) -> bool {
        // Unreadable data counts as data.
        let goes_on = !self.input.fill_buf().is_ok_and(<[u8]>::is_empty);
        self.number += u64::from(goes_on);
        goes_on
    }

    fn problem(&self, problem: impl Into<String>) -> Problem {
        Problem { line: self.number, problem: problem.into() }
    }
}

/// Reads parts, and checks the order of the lines.
struct Reader {
    lines: Lines,
    counter: Counter,
    position: Option<StreamPosition>,
    last_event: Option<EventKey>,
    /// The record that ended the events before it.
    next: Option<StorePart>,
    manifest: Option<Manifest>,
}

/// A line between the first and the last.
#[allow(clippy::large_enum_variant)] // There is one at a time.
enum Item {
    Event(TraceEvent),
    /// A trace begins.
    Begin(StorePart),
}

impl Reader {
    fn open(file: &Arc<File>) -> Result<Self, Problem> {
        let problem = |problem: String| Problem { line: 1, problem };
        let mut lines = Lines::open(file).map_err(|error| problem(format!("the file can't be read: {error}")))?;
        match lines.next()? {
            Some(OwnedRecord::Export(head)) if (1..=line::VERSION).contains(&head.version) => {}
            Some(_) => {
                return Err(problem("it is not the first line of an export: those before it are missing".into()));
            }
            None => return Err(problem("the file is empty".into())),
        }
        let counter = Counter::new(Counts::default(), None);
        Ok(Self { lines, counter, position: None, last_event: None, next: None, manifest: None })
    }

    /// The next part; `None` at the end, if the manifest matches.
    fn next(&mut self) -> Result<Option<StorePart>, Problem> {
        let mut budget = BatchBudget::default();
        let mut events = Vec::new();
        while self.manifest.is_none() && self.next.is_none() && budget.is_left() {
            match self.item()? {
                Some(Item::Event(event)) => {
                    budget.take(&event);
                    events.push(event);
                }
                Some(Item::Begin(part)) => self.next = Some(part),
                None => {}
            }
        }
        let part = if events.is_empty() { self.next.take() } else { Some(StorePart::Events(events)) };
        match &part {
            Some(part) => self.counter.add(part),
            None => {
                let digest = self.counter.counts().digest;
                if self.manifest.as_ref().is_some_and(|manifest| manifest.digest != digest) {
                    return Err(self.lines.problem("the manifest does not match the contents of the file"));
                }
            }
        }
        Ok(part)
    }

    /// The next record; `None` if it is the manifest.
    fn item(&mut self) -> Result<Option<Item>, Problem> {
        let Some(record) = self.lines.next()? else {
            return Err(self.lines.problem("it is missing: the file is not complete"));
        };
        let wrong = |problem: String| Err(self.lines.problem(problem));
        match record {
            OwnedRecord::Export(_) => wrong("another export begins".into()),
            OwnedRecord::Trace(header) => {
                if let Err(error) = header.validate_header() {
                    return wrong(format!("trace {}: {error}", header.trace_id));
                }
                let header = FlowTrace { events: Vec::new(), ..header };
                self.begin(StreamPosition::of(&header))?;
                Ok(Some(Item::Begin(StorePart::Header(header))))
            }
            OwnedRecord::Headerless(trace_id) => {
                self.begin(StreamPosition::Headerless { trace_id })?;
                Ok(Some(Item::Begin(StorePart::Headerless(trace_id))))
            }
            OwnedRecord::Event(event) => {
                if let Err(error) = event.validate() {
                    return wrong(error.to_string());
                }
                let key = event.key();
                if self.position.is_none() || self.last_event.is_some_and(|last| last >= key) {
                    return wrong(format!("event {} is out of order", event.event_id));
                }
                self.last_event = Some(key);
                Ok(Some(Item::Event(event)))
            }
            OwnedRecord::End(manifest) => {
                let before = self.lines.number - 1;
                if manifest.lines != before {
                    return wrong(format!("it says that {} lines come before it; there are {before}", manifest.lines));
                }
                if self.lines.next_is_there() {
                    return Err(self.lines.problem("it follows what should be the end of the file"));
                }
                self.manifest = Some(manifest);
                Ok(None)
            }
        }
    }

    fn begin(&mut self, position: StreamPosition) -> Result<(), Problem> {
        if self.position.is_some_and(|last| last >= position) {
            return Err(self.lines.problem(format!("trace {} is out of order", position.trace_id())));
        }
        (self.position, self.last_event) = (Some(position), None);
        Ok(())
    }
}
