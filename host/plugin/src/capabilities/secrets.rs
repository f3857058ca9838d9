//! `reflow:capabilities/secrets`: values that must appear neither in the configuration nor in the log.
//!
//! Every call reads the secret from its source, so a replaced secret takes effect immediately and none stays in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reflow_tracing_storage::StorageError;

use super::log::PluginLog;
use crate::contract::bindings::reflow::capabilities::secrets::SecretError;
use crate::policy::Grants;

/// Maximum size of a secret, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The sources of a plugin's secrets, by label.
pub(crate) struct Secrets {
    by_label: BTreeMap<String, Source>,
    log: Arc<PluginLog>,
}

#[derive(Clone)]
enum Source {
    Variable(String),
    File(PathBuf),
}

impl Secrets {
    /// The secrets granted to `plugin`. Does not read them yet.
    pub(crate) fn new(plugin: &str, grants: &Grants, log: &Arc<PluginLog>) -> Result<Self, StorageError> {
        let source = |(label, source): (&String, &String)| match Source::parse(source) {
            Some(source) => Ok((label.clone(), source)),
            // The message omits the value, which may be the secret itself.
            None => Err(StorageError::Configuration(format!(
                "plugins.{plugin}.grants.secrets.{label} must name the source of the secret, not the secret: write env:NAME \
                 for an environment variable, or file:PATH"
            ))),
        };
        let by_label = grants.secrets.iter().map(source).collect::<Result<_, _>>()?;
        Ok(Self { by_label, log: Arc::clone(log) })
    }

    pub(super) async fn get(&self, label: &str) -> Result<Vec<u8>, SecretError> {
        let Some(source) = self.by_label.get(label).cloned() else {
            return Err(SecretError::NoSuchLabel(label.into()));
        };
        let read = tokio::task::spawn_blocking(move || source.read());
        let problem = match read.await {
            Ok(Ok(secret)) => return Ok(secret),
            Ok(Err(problem)) => problem,
            Err(error) => error.to_string(),
        };
        // Only the operator may see the source.
        self.log.warn(&format!("can't read the secret `{label}`: {problem}"));
        Err(SecretError::Unavailable(format!("can't read the secret `{label}`; the host's log says why")))
    }
}

/// A text with secrets filled in, such as `Bearer {env:TOKEN}`.
#[derive(Clone)]
pub(super) struct Filled(Vec<Piece>);

#[derive(Clone)]
enum Piece {
    Text(String),
    Secret(Source),
}

impl Filled {
    /// Fails without showing the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let secret = after.split_once('}').and_then(|(source, after)| Some((Source::parse(source)?, after)));
            let Some((source, after)) = secret else {
                return Err("a secret is written as {env:NAME} for an environment variable, or as {file:PATH}".into());
            };
            pieces.extend([Piece::Text(before.into()), Piece::Secret(source)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(Self(pieces))
    }

    /// The text with the current values of its secrets. Must not be called where blocking is not allowed.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.extend_from_slice(fixed.as_bytes()),
                Piece::Secret(source) => text.extend_from_slice(&source.read()?),
            }
        }
        Ok(text)
    }
}

impl Source {
    fn parse(source: &str) -> Option<Self> {
        match source.split_once(':')? {
            ("env", name) if !name.is_empty() && !name.contains(['=', '\0']) => Some(Self::Variable(name.into())),
            ("file", path) if !path.is_empty() => Some(Self::File(path.into())),
            _ => None,
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let secret = match self {
            Self::Variable(name) => std::env::var_os(name)
                .map(std::ffi::OsString::into_encoded_bytes)
                .ok_or_else(|| format!("the environment variable {name} is not set"))?,
            Self::File(path) => {
                read_file(path).map_err(|error| format!("can't read the file {}: {error}", path.display()))?
            }
        };
        if secret.len() as u64 > MAX_BYTES {
            return Err(format!("it is larger than {MAX_BYTES} bytes"));
        }
        Ok(secret)
    }
}

/// The contents without the newline that an editor adds. Stops reading soon after the maximum size.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    // Reading a device or a pipe might never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut secret = Vec::new();
    // One byte more than a secret and its line ending.
    std::fs::File::open(path)?.take(MAX_BYTES + 3).read_to_end(&mut secret)?;
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(source: &str) -> Result<Secrets, StorageError> {
        let grants = Grants { secrets: [("token".into(), source.into())].into(), ..Grants::default() };
        Secrets::new("p", &grants, &Arc::new(PluginLog::new("p")))
    }

    #[tokio::test]
    async fn a_file_is_read_at_each_call_and_loses_one_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let secrets = secrets(&format!("file:{}", path.display())).unwrap();
        assert!(matches!(secrets.get("token").await, Err(SecretError::Unavailable(_))));
        for (content, secret) in [("a\n", "a"), ("b\r\n", "b"), ("c\n\n", "c\n"), ("", ""), ("\n", ""), ("d", "d")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(secrets.get("token").await.unwrap(), secret.as_bytes());
        }
        std::fs::write(&path, vec![b'x'; MAX_BYTES as usize]).unwrap();
        assert_eq!(secrets.get("token").await.unwrap().len() as u64, MAX_BYTES);
        std::fs::write(&path, vec![b'x'; MAX_BYTES as usize + 1]).unwrap();
        assert!(matches!(secrets.get("token").await, Err(SecretError::Unavailable(_))));
        assert!(matches!(secrets.get("other").await, Err(SecretError::NoSuchLabel(label)) if label == "other"));
    }

    #[tokio::test]
    async fn a_folder_or_a_device_is_refused() {
        for path in ["/dev/zero", "/"] {
            let problem = secrets(&format!("file:{path}")).unwrap().get("token").await.unwrap_err();
            assert!(matches!(&problem, SecretError::Unavailable(message) if !message.contains(path)), "{problem:?}");
        }
    }

    #[tokio::test]
    async fn a_variable_is_read_from_the_environment() {
        let secrets = secrets("env:PATH").unwrap();
        assert_eq!(secrets.get("token").await.unwrap(), std::env::var("PATH").unwrap().into_bytes());
    }

    #[test]
    fn an_invalid_source_is_refused_without_showing_it() {
        for source in ["", "hunter2", "env:", "env:hunter2=x", "file:", "vault:hunter2"] {
            let message = secrets(source).err().expect("it is refused").to_string();
            assert!(message.contains("plugins.p.grants.secrets.token"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
