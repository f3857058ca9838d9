//! Compressed binary messages, as Reflow's programs send them.
//!
//! zstd, gzip and the frame format of LZ4 begin with a magic number. A block of LZ4 begins with the size of what it expands to, as
//! the crate `lz4_flex` writes it. Brotli has no beginning of its own, so it is what nothing else is.

use std::io::{self, Read};

use super::socket::MAX_MESSAGE_BYTES;

/// The base-2 logarithm of the largest window of zstd, which is memory: 16 MiB.
const MAX_ZSTD_WINDOW: u32 = 24;

/// A format with a magic number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Zstd,
    Gzip,
    Lz4,
}

impl Format {
    /// The format whose magic number a message begins with.
    fn of(message: &[u8]) -> Option<Self> {
        match message {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
        }
    }
}

/// Whether a message begins with the magic number of a compression, so that it can't be anything else.
pub(super) fn has_magic_number(message: &[u8]) -> bool {
    Format::of(message).is_some()
}

/// Why a message was not decompressed.
#[derive(Debug)]
pub(super) struct Problem {
    /// It expands to more than was asked for.
    pub is_too_large: bool,
    /// What is wrong with it.
    pub text: String,
}

/// What a compressed message expands to, up to `limit` bytes.
pub(super) fn decompress(message: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
    let problem = |name: &str, error: io::Error| Problem {
        is_too_large: error.kind() == io::ErrorKind::FileTooLarge,
        text: format!("the message can't be decompressed as {name}: {error}"),
    };
    if let Some(format) = Format::of(message) {
        let expanded = match format {
            Format::Zstd => zstd::stream::read::Decoder::new(message).and_then(|mut decoder| {
                decoder.window_log_max(MAX_ZSTD_WINDOW)?;
                read(decoder, limit)
            }),
            Format::Gzip => read(flate2::read::MultiGzDecoder::new(message), limit),
            Format::Lz4 => read(lz4_flex::frame::FrameDecoder::new(message), limit),
        };
        return expanded.map_err(|error| problem(format.name(), error));
    }
    match lz4_block(message, limit) {
        Some(Err(error)) => return Err(problem(Format::Lz4.name(), error)),
        Some(Ok(expanded)) => return Ok(expanded),
        None => {}
    }
    if !has_large_brotli_window(message) {
        match read(brotli_decompressor::Decompressor::new(message, 4096), limit) {
            Ok(expanded) => return Ok(expanded),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(problem("brotli", error)),
            Err(_) => {}
        }
    }
    let text = "it is not compressed with zstd, gzip, lz4 or brotli either".into();
    Err(Problem { is_too_large: false, text })
}

fn too_large(limit: usize) -> io::Error {
    let problem = format!("it expands to more than {} MiB, the most that a message may have", limit >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, problem)
}

/// Reads all of it, up to the limit.
fn read(compressed: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut expanded = Vec::new();
    if compressed.take(limit as u64 + 1).read_to_end(&mut expanded)? > limit {
        return Err(too_large(limit));
    }
    Ok(expanded)
}

/// What a block of LZ4 after its size expands to; `None` if it is not one.
fn lz4_block(message: &[u8], limit: usize) -> Option<io::Result<Vec<u8>>> {
    /// A byte expands to at most so many.
    const MAX_RATIO: usize = 255;
    let (size, block) = message.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    if size == 0 || size > MAX_MESSAGE_BYTES || size > block.len().saturating_mul(MAX_RATIO) {
        return None;
    }
    if size > limit {
        return Some(Err(too_large(limit)));
    }
    lz4_flex::block::decompress(block, size).ok().filter(|expanded| expanded.len() == size).map(Ok)
}

/// Whether a message asks for a window that the standard of brotli does not allow. It is up to 1 GiB of memory.
fn has_large_brotli_window(message: &[u8]) -> bool {
    message.first().is_none_or(|first| first & 0x7f == 0x11)
}
