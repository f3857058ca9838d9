//! Secrets that the operator has granted, by label.
//!
//! Read one when it is needed rather than once: it may have been replaced.
//!
//! ```no_run
//! use reflow_tracing_plugin::{Result, secrets};
//!
//! fn authorization() -> Result<String> {
//!     Ok(format!("Bearer {}", secrets::text("api_token")?))
//! }
//! ```

use crate::StorageError;
use crate::bindings::reflow::capabilities::secrets;
pub use crate::bindings::reflow::capabilities::secrets::SecretError as Error;

/// The secret as it is now.
pub fn get(label: &str) -> Result<Vec<u8>, Error> {
    secrets::get(label)
}

/// The secret as it is now, which must be a text.
pub fn text(label: &str) -> Result<String, Error> {
    let secret = get(label)?;
    // Without what was found: an error may end up in a log.
    String::from_utf8(secret).map_err(|_| Error::Unavailable(format!("the secret `{label}` is no UTF-8 text")))
}

/// So that `?` turns what the host says into what it understands.
impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchLabel(label) => Self::InvalidArgument(format!(
                "no secret is granted under the label `{label}`: add grants = {{ secrets = {{ {label} = \"env:NAME\" }} }}"
            )),
            Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
