//! Events in the binary format of COPY: the fastest way in, but one that refuses all of them when one is there already.

use sqlx::PgConnection;

use super::event::EventRow;
use super::header::Place;

/// The columns in the order of [`EventRow::copy`].
const STATEMENT: &str = include_str!("sql/copy_events.sql");

/// Rows to be sent.
pub(super) struct Rows(Vec<u8>);

impl Rows {
    /// Rows of events, each with its place.
    pub(super) fn new(rows: &[(Place, &EventRow)]) -> Self {
        // The signature, no flags, no extension.
        let mut buffer = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        buffer.reserve(rows.iter().map(|(_, row)| row.bytes() + 200).sum());
        for (place, row) in rows {
            let mut tuple = Tuple::begin(&mut buffer);
            tuple.number(Some(place.sequence));
            tuple.number(Some(place.placed_at));
            row.copy(&mut tuple);
            tuple.end();
        }
        // The trailer.
        buffer.extend((-1_i16).to_be_bytes());
        Self(buffer)
    }

    /// Sends them. Fails with a violated constraint when one is stored already.
    pub(super) async fn send(self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let mut copy = connection.copy_in_raw(STATEMENT).await?;
        copy.send(self.0).await?;
        copy.finish().await?;
        Ok(())
    }
}

/// A row that is being written.
pub(super) struct Tuple<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    fields: i16,
}

impl<'a> Tuple<'a> {
    fn begin(buffer: &'a mut Vec<u8>) -> Self {
        let start = buffer.len();
        buffer.extend([0, 0]);
        Self { buffer, start, fields: 0 }
    }

    /// Writes how many fields there are before them.
    fn end(self) {
        self.buffer[self.start..self.start + 2].copy_from_slice(&self.fields.to_be_bytes());
    }

    /// A field of bytes, which are those of a text or an id too.
    pub(super) fn bytes(&mut self, value: Option<&[u8]>) {
        self.fields += 1;
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.buffer.extend(length.to_be_bytes());
        self.buffer.extend_from_slice(value.unwrap_or_default());
    }

    pub(super) fn text(&mut self, value: Option<impl AsRef<str>>) {
        self.bytes(value.as_ref().map(|text| text.as_ref().as_bytes()));
    }

    pub(super) fn id(&mut self, value: Option<uuid::Uuid>) {
        self.bytes(value.as_ref().map(|id| id.as_bytes().as_slice()));
    }

    pub(super) fn number(&mut self, value: Option<i64>) {
        self.bytes(value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    pub(super) fn small(&mut self, value: Option<i16>) {
        self.bytes(value.map(i16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
    }

    pub(super) fn real(&mut self, value: Option<f32>) {
        self.bytes(value.map(f32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
    }

    pub(super) fn double(&mut self, value: Option<f64>) {
        self.bytes(value.map(f64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }
}
