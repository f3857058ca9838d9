//! The name and the password for a registry: from the environment, else from Docker's configuration file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// The variables with a name and a password.
pub const VARIABLES: [&str; 2] = ["REFLOW_TRACING_REGISTRY_USERNAME", "REFLOW_TRACING_REGISTRY_PASSWORD"];

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The part of Docker's configuration file that is about registries.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// The credentials for the registry `host`; `None` if there are none.
pub(super) fn find(host: &str) -> anyhow::Result<Option<Credentials>> {
    let [username, password] = VARIABLES.map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    match (username, password) {
        (Some(username), Some(password)) => return Ok(Some(Credentials { username, password })),
        (None, None) => {}
        _ => bail!("only one of {} and {} is set: set both, or none", VARIABLES[0], VARIABLES[1]),
    }
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let Some(folder) = folder.or_else(|| Some(std::env::home_dir()?.join(".docker"))) else { return Ok(None) };
    in_file(&folder.join("config.json"), host)
}

fn in_file(file: &Path, host: &str) -> anyhow::Result<Option<Credentials>> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", file.display())),
    };
    let config: DockerConfig = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a configuration of Docker", file.display()))?;
    let key = |key: &str| key_host(key) == host || (key_host(key) == "index.docker.io" && host == "docker.io");
    if let Some((_, helper)) = config.cred_helpers.iter().find(|(name, _)| key(name)) {
        return ask_helper(helper, host);
    }
    if let Some((name, auth)) = config.auths.iter().find(|(name, _)| key(name)) {
        let found = auth.credentials().with_context(|| format!("{}: the entry `{name}`", file.display()))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    match &config.creds_store {
        // Docker keeps an entry without a password for each registry that is in its store.
        Some(helper) if config.auths.keys().any(|name| key(name)) => ask_helper(helper, host),
        _ => Ok(None),
    }
}

/// The host of a key: `https://index.docker.io/v1/` is `index.docker.io`.
fn key_host(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    key.split('/').next().unwrap_or_default()
}

impl Auth {
    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        ensure!(
            self.identitytoken.as_deref().unwrap_or_default().is_empty(),
            "identity tokens are not supported: log in with a name and a password or an access token"
        );
        if let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            let decoded = BASE64_STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.context("`auth` is not valid: expected NAME:PASSWORD in base64")?;
            let (username, password) =
                decoded.split_once(':').context("`auth` is not valid: expected NAME:PASSWORD in base64")?;
            return Ok(Some(Credentials { username: username.into(), password: password.into() }));
        }
        Ok(self
            .username
            .clone()
            .zip(self.password.clone())
            .map(|(username, password)| Credentials { username, password }))
    }
}

/// Asks one of Docker's credential helpers, `docker-credential-NAME`.
fn ask_helper(name: &str, host: &str) -> anyhow::Result<Option<Credentials>> {
    ensure!(
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')),
        "the credential helper `{name}` of Docker's configuration has an invalid name"
    );
    let program = format!("docker-credential-{name}");
    let failed = || format!("can't ask {program} for the password of {host}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(failed)?;
    let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    let mut stdin = child.stdin.take().with_context(failed)?;
    stdin.write_all(server.as_bytes()).with_context(failed)?;
    drop(stdin);
    let output = child.wait_with_output().with_context(failed)?;
    if !output.status.success() {
        // It says so on stdout when it has none.
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        return if said.contains("not found") { Ok(None) } else { Err(anyhow!("{}: {said}", failed())) };
    }
    let Helped { username, secret } = serde_json::from_slice(&output.stdout).with_context(failed)?;
    ensure!(username != "<token>", "{}: identity tokens are not supported", failed());
    Ok(Some(Credentials { username, password: secret }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, host: &str) -> anyhow::Result<Option<Credentials>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, json).unwrap();
        in_file(&file, host)
    }

    #[test]
    fn the_entry_of_the_registry_is_used_and_no_other() {
        let auth = BASE64_STANDARD.encode("ann:a:secret");
        let json = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}, "r.example:5000": {{"username": "bob", "password": "x"}}}}}}"#
        );
        let ann = Credentials { username: "ann".into(), password: "a:secret".into() };
        assert_eq!(found(&json, "docker.io").unwrap(), Some(ann));
        assert_eq!(found(&json, "r.example:5000").unwrap().unwrap().username, "bob");
        assert_eq!(found(&json, "r.example").unwrap(), None);
        assert_eq!(in_file(Path::new("/nowhere/config.json"), "r.example").unwrap(), None);
    }

    #[test]
    fn a_damaged_entry_is_an_error_that_names_it_without_its_content() {
        let error = found(r#"{"auths": {"r.example": {"auth": "%%secret%%"}}}"#, "r.example").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("config.json") && text.contains("`r.example`") && !text.contains("secret"), "{text}");
        let error = found(r#"{"auths": {"r.example": {"identitytoken": "t"}}}"#, "r.example").unwrap_err();
        assert!(format!("{error:#}").contains("identity tokens"), "{error:#}");
        let error = found(r#"{"credHelpers": {"r.example": "../../bin/sh"}}"#, "r.example").unwrap_err();
        assert!(error.to_string().contains("invalid name"), "{error}");
    }
}
