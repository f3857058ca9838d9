use std::io;

use serde::Serialize;

/// The length of a value's JSON in bytes, an estimate of its size. The JSON itself is not kept.
pub fn json_bytes(value: &impl Serialize) -> u64 {
    let mut length = Length(0);
    // A value that can't be written as JSON is not stored either; the length so far will do.
    let _ = serde_json::to_writer(&mut length, value);
    length.0
}

struct Length(u64);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
