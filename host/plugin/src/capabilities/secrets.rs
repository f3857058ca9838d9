//! `reflow:capabilities/secrets`: what must stand neither in the configuration nor in the log.
//!
//! A secret is read at every call, so a new one counts at once, and none is kept.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reflow_tracing_storage::StorageError;

use super::log::PluginLog;
use crate::bindings::reflow::capabilities::secrets::{Host, SecretError};
use crate::instance::InstanceState;
use crate::policy::Grants;

/// The largest secret, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a plugin's secrets are, by label.
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
    /// What `plugin` was granted. Reads nothing yet.
    pub(crate) fn new(plugin: &str, grants: &Grants, log: &Arc<PluginLog>) -> Result<Self, StorageError> {
        let source = |(label, source): (&String, &String)| match source.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok((label.clone(), Source::Variable(name.into())))
            }
            Some(("file", path)) if !path.is_empty() => Ok((label.clone(), Source::File(path.into()))),
            // Without what is written there: it may be the secret itself.
            _ => Err(StorageError::Configuration(format!(
                "plugins.{plugin}.grants.secrets.{label}: it says where the secret is, not what it is; write env:NAME, \
                 with the name of a variable of the environment, or file:PATH"
            ))),
        };
        let by_label = grants.secrets.iter().map(source).collect::<Result<_, _>>()?;
        Ok(Self { by_label, log: Arc::clone(log) })
    }

    async fn get(&self, label: &str) -> Result<Vec<u8>, SecretError> {
        let Some(source) = self.by_label.get(label).cloned() else {
            return Err(SecretError::NoSuchLabel(label.into()));
        };
        let read = tokio::task::spawn_blocking(move || source.read());
        let problem = match read.await {
            Ok(Ok(secret)) => return Ok(secret),
            Ok(Err(problem)) => problem,
            Err(error) => error.to_string(),
        };
        // Where it is, is for the operator alone.
        self.log.warn(&format!("the secret `{label}`: {problem}"));
        Err(SecretError::Unavailable(format!("the secret `{label}` can't be read; the host's log says why")))
    }
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, String> {
        let secret = match self {
            Self::Variable(name) => std::env::var_os(name)
                .map(std::ffi::OsString::into_encoded_bytes)
                .ok_or_else(|| format!("the environment has no variable {name}"))?,
            Self::File(path) => {
                read_file(path).map_err(|error| format!("the file {} can't be read: {error}", path.display()))?
            }
        };
        if secret.len() as u64 > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        Ok(secret)
    }
}

/// The content without the newline that an editor leaves at its end, read no further than to see that it is too large.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    // Anything else might never end, or never begin.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut secret = Vec::new();
    // For a line ending, too.
    std::fs::File::open(path)?.take(MAX_BYTES + 3).read_to_end(&mut secret)?;
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    Ok(secret)
}

impl Host for InstanceState {
    async fn get(&mut self, label: String) -> wasmtime::Result<Result<Vec<u8>, SecretError>> {
        Ok(self.granted.secrets.get(&label).await)
    }
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
    async fn a_folder_or_a_device_is_no_secret() {
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
    fn what_is_no_source_is_refused_without_being_shown() {
        for source in ["", "hunter2", "env:", "env:hunter2=x", "file:", "vault:hunter2"] {
            let message = secrets(source).err().expect("it is refused").to_string();
            assert!(message.contains("plugins.p.grants.secrets.token"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
