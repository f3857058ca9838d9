//! Secrets that the operator has granted, by label.
//!
//! Read a secret each time it is needed, because the operator may replace it.
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

/// The current value of the secret.
pub fn get(label: &str) -> Result<Vec<u8>, Error> {
    secrets::get(label)
}

/// The current value of the secret as text. Fails when it is not UTF-8.
pub fn text(label: &str) -> Result<String, Error> {
    let secret = get(label)?;
    // The message omits the value, because errors are logged.
    String::from_utf8(secret)
        .map_err(|_| Error::Unavailable(format!("the secret `{label}` is not UTF-8 text")))
}

/// Lets `?` convert an error of the host.
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
