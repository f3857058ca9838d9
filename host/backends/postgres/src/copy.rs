//! The binary format of COPY.

use sqlx::PgConnection;

/// Encoded rows.
pub(super) struct Rows(Vec<u8>);

impl Rows {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        // The signature, no flags, no extension.
        let mut buffer = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        buffer.reserve(bytes);
        Self(buffer)
    }

    /// Begins a row.
    pub(super) fn begin(&mut self) -> Tuple<'_> {
        let start = self.0.len();
        self.0.extend([0, 0]);
        Tuple { buffer: &mut self.0, start, fields: 0 }
    }

    /// Runs the COPY statement. Fails with a violated constraint if a row is stored already.
    pub(super) async fn send(mut self, connection: &mut PgConnection, statement: &str) -> sqlx::Result<()> {
        // The trailer.
        self.0.extend((-1_i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
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

impl Tuple<'_> {
    /// Ends the row: writes the number of fields in front of them.
    pub(super) fn end(self) {
        self.buffer[self.start..self.start + 2].copy_from_slice(&self.fields.to_be_bytes());
    }

    /// A field of bytes. Texts and ids have the same format.
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

    pub(super) fn real(&mut self, value: Option<f32>) {
        self.bytes(value.map(f32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice));
    }

    pub(super) fn double(&mut self, value: Option<f64>) {
        self.bytes(value.map(f64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }
}
