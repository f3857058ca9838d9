//! Answers as JSON, in frames that clients accept.

use std::io;

use axum::body::Bytes;
use reflow_tracing::storage::StorageError;
use reflow_tracing::{TraceEvent, TraceId};
use serde::Serialize;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::message::{RequestId, TracingResponse};
use crate::budget::{Account, Share, UsedUp};

/// The longest answer, in bytes: Reflow's client refuses longer messages.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The longest frame of an answer, in bytes. Reflow's client refuses frames over 16 MiB.
pub(super) const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// An answer of this length is paid for by its connection.
const FREE_BYTES: usize = 16 * 1024;

/// What an answer takes of the budget at a time.
const STEP: usize = 1024 * 1024;

/// The JSON of an answer, written piece by piece, up to [`MAX_ANSWER_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Answer {
    full: Vec<Bytes>,
    last: Vec<u8>,
    /// Of the budget.
    share: Option<Share>,
}

/// The answer is longer than [`MAX_ANSWER_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Answer {
    /// The whole answer; an error if it is too large.
    pub(super) fn of(answer: &TracingResponse) -> Self {
        let mut json = Self::default();
        match json.value(answer) {
            Ok(()) => json,
            Err(TooLarge) => Self::too_large(),
        }
    }

    /// Tells of an event; an error if it is too large.
    pub(super) fn notification(trace_id: TraceId, event: &TraceEvent) -> Self {
        let write = || {
            let mut answer = Self::begin("EventNotification", None)?;
            answer.json("\"trace_id\":")?;
            answer.value(&trace_id)?;
            answer.json(",\"event\":")?;
            answer.value(event)?;
            answer.json("}}")?;
            Ok(answer)
        };
        write().unwrap_or_else(|TooLarge| Self::too_large())
    }

    fn too_large() -> Self {
        let limit = MAX_ANSWER_BYTES >> 20;
        let message = format!("the answer is larger than {limit} MiB, the most that one message may have");
        Self::encode(&TracingResponse::from(StorageError::InvalidArgument(message)))
    }

    /// A short answer.
    pub(super) fn encode(answer: &impl Serialize) -> Self {
        let last = serde_json::to_vec(answer).expect("answers are plain data whose maps have text keys");
        Self { full: Vec::new(), last, share: None }
    }

    /// Begins an answer to the request that may have this id: `{"NAME":{` and the id.
    pub(super) fn begin(name: &str, request_id: Option<&RequestId>) -> Result<Self, TooLarge> {
        let mut answer = Self::default();
        answer.json(&format!("{{\"{name}\":{{"))?;
        if let Some(request_id) = request_id {
            answer.json("\"request_id\":")?;
            answer.value(request_id)?;
            answer.json(",")?;
        }
        Ok(answer)
    }

    /// Pays for what is written, and waits for it if need be. Lets other tasks go on from time to time.
    ///
    /// Fails when nobody is to get the answer any more.
    pub(super) async fn pay(&mut self, account: &Account) -> Result<(), UsedUp> {
        tokio::task::coop::consume_budget().await;
        if account.is_ended() {
            return Err(UsedUp);
        }
        let paid = FREE_BYTES + self.share.as_ref().map_or(0, Share::bytes);
        let missing = self.len().saturating_sub(paid);
        if missing > 0 {
            let share = account.take(missing.next_multiple_of(STEP)).await?;
            match &mut self.share {
                Some(paid) => paid.merge(share),
                none => *none = Some(share),
            }
        }
        Ok(())
    }

    /// What it is paid for with. To be dropped once it is sent.
    pub(super) fn take_share(&mut self) -> Option<Share> {
        self.share.take()
    }

    fn len(&self) -> usize {
        self.full.len() * MAX_FRAME_BYTES + self.last.len()
    }

    /// Appends JSON.
    pub(super) fn json(&mut self, json: &str) -> Result<(), TooLarge> {
        io::Write::write_all(self, json.as_bytes()).map_err(|_| TooLarge)
    }

    /// Appends the JSON of a value.
    pub(super) fn value(&mut self, value: &impl Serialize) -> Result<(), TooLarge> {
        // Nothing else can fail: answers are plain data whose maps have text keys.
        serde_json::to_writer(self, value).map_err(|_| TooLarge)
    }

    /// The frames of one text message.
    pub(super) fn into_frames(self) -> impl Iterator<Item = Message> {
        let mut opcode = OpCode::Data(Data::Text);
        let mut parts = self.full.into_iter().chain([self.last.into()]).peekable();
        std::iter::from_fn(move || {
            let part = parts.next()?;
            let frame = Frame::message(part, opcode, parts.peek().is_none());
            opcode = OpCode::Data(Data::Continue);
            Some(Message::Frame(frame))
        })
    }
}

/// Fails once the answer is too large.
impl io::Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len() + bytes.len() > MAX_ANSWER_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.last.len() == MAX_FRAME_BYTES {
            self.full.push(std::mem::take(&mut self.last).into());
        }
        let fits = bytes.len().min(MAX_FRAME_BYTES - self.last.len());
        self.last.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(answer: Answer) -> Vec<Frame> {
        let frame = |message| match message {
            Message::Frame(frame) => frame,
            other => panic!("{other:?}"),
        };
        answer.into_frames().map(frame).collect()
    }

    #[test]
    fn a_short_answer_is_one_frame() {
        let frames = frames(Answer::of(&TracingResponse::Pong));
        let [frame] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((frame.payload(), frame.header().is_final), (&br#""Pong""#[..], true));
    }

    #[test]
    fn a_long_answer_is_several_frames_of_one_message() {
        let text = "ab".repeat(MAX_FRAME_BYTES);
        let mut answer = Answer::default();
        answer.value(&text).unwrap();
        let frames = frames(answer);
        let described: Vec<_> = frames
            .iter()
            .map(|frame| (frame.header().opcode, frame.header().is_final, frame.payload().len()))
            .collect();
        let (text_frame, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));
        assert_eq!(described, [(text_frame, false, MAX_FRAME_BYTES), (more, false, MAX_FRAME_BYTES), (more, true, 2)]);
        let whole: Vec<u8> = frames.iter().flat_map(|frame| frame.payload().to_vec()).collect();
        assert_eq!(serde_json::from_slice::<String>(&whole).unwrap(), text);
    }

    #[test]
    fn an_answer_up_to_the_limit_is_written_and_a_longer_one_is_refused() {
        let mut answer = Answer::default();
        for _ in 0..8 {
            answer.json(&"x".repeat(MAX_ANSWER_BYTES / 8)).unwrap();
        }
        assert_eq!(answer.json("x"), Err(TooLarge));
        assert_eq!(answer.into_frames().count(), 8);

        let versions =
            vec![reflow_tracing::FlowVersion { git_hash: Some("x".repeat(MAX_ANSWER_BYTES)), ..Default::default() }];
        let refused = frames(Answer::of(&TracingResponse::FlowVersions { versions }));
        let refused = String::from_utf8(refused[0].payload().to_vec()).unwrap();
        assert!(refused.contains("64 MiB") && refused.contains("InvalidRequest"), "{refused}");
    }
}
