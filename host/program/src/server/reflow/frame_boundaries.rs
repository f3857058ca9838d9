//! Where the frames of a WebSocket begin and end in its bytes.

/// A frame with a longer payload is large.
const LARGE: u64 = 64 * 1024;

/// Follows the bytes that were read.
#[derive(Debug, Default)]
pub(super) struct FrameBoundaries {
    /// The beginning of the header that is being read.
    header: Vec<u8>,
    /// What is left of the payload.
    payload: u64,
    /// Whether a message has begun whose last frame has not.
    is_fragmented: bool,
    /// The messages that were read to their end, control frames too, and not taken yet.
    complete: usize,
    /// Whether a large frame was read since this was last forgotten.
    pub has_large: bool,
}

impl FrameBoundaries {
    /// These bytes were read.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let part = bytes.len().min(self.until_next());
            let (now, rest) = bytes.split_at(part);
            bytes = rest;
            if self.payload > 0 {
                self.payload -= part as u64;
            } else {
                self.header.extend_from_slice(now);
                if self.header.len() == header_length(&self.header) {
                    self.begin();
                }
            }
        }
    }

    fn begin(&mut self) {
        let is_control = self.header[0] & 0x08 != 0;
        let is_last = self.header[0] & 0x80 != 0;
        self.payload = match (self.header[1] & 0x7f, &self.header[2..]) {
            (126, [a, b, ..]) => u64::from(u16::from_be_bytes([*a, *b])),
            (127, [a, b, c, d, e, f, g, h, ..]) => u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            (length, _) => u64::from(length),
        };
        self.header.clear();
        self.has_large |= self.payload > LARGE;
        self.complete += usize::from(is_last);
        if !is_control {
            self.is_fragmented = !is_last;
        }
    }

    /// The bytes until the end of the header or the payload that is being read.
    pub(super) fn until_next(&self) -> usize {
        if self.payload > 0 {
            return usize::try_from(self.payload).unwrap_or(usize::MAX);
        }
        header_length(&self.header) - self.header.len()
    }

    /// A message was taken.
    pub(super) fn taken(&mut self) {
        self.complete = self.complete.saturating_sub(1);
    }

    /// Whether everything that was read was taken.
    pub(super) fn is_between_messages(&self) -> bool {
        self.header.is_empty() && self.payload == 0 && !self.is_fragmented && self.complete == 0
    }
}

/// The length of a header, as far as its beginning says.
fn header_length(header: &[u8]) -> usize {
    let Some(second) = header.get(1) else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 != 0 { 4 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame.
    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match payload {
            0..126 => frame.push(0x80 | payload as u8),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + 4 + payload, b'x');
        frame
    }

    #[test]
    fn messages_are_counted_in_whatever_parts_they_come() {
        let ping_within = [frame(0x01, 300), frame(0x89, 5), frame(0x80, 70_000)].concat();
        let bytes = [frame(0x81, 0), frame(0x82, 125), frame(0x81, 126), ping_within].concat();
        for part in [1, 2, 3, 7, 100, 5_000, bytes.len()] {
            let mut boundaries = FrameBoundaries::default();
            assert!(boundaries.is_between_messages());
            bytes.chunks(part).for_each(|part| boundaries.read(part));
            assert_eq!((boundaries.complete, boundaries.has_large), (5, true), "in parts of {part}");
            for _ in 0..5 {
                assert!(!boundaries.is_between_messages());
                boundaries.taken();
            }
            assert!(boundaries.is_between_messages());
            boundaries.read(&[0x81]);
            assert!(!boundaries.is_between_messages());
            assert_eq!(boundaries.until_next(), 1);
        }
    }

    #[test]
    fn a_message_of_which_a_frame_is_missing_is_not_complete() {
        let mut boundaries = FrameBoundaries::default();
        boundaries.read(&frame(0x01, 10));
        assert!(!boundaries.is_between_messages());
        assert!(!boundaries.has_large);
    }
}
