use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sha2::Digest as _;

/// The name of an artifact in a registry: `oci://HOST[:PORT]/NAME:TAG`, with or in place of the tag `@sha256:DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `HOST[:PORT]`.
    pub host: String,
    /// The path of the artifact, without the tag.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest of the manifest.
    pub digest: Option<Digest>,
}

/// A SHA-256, `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(sha2::Sha256::new_with_prefix(bytes))
    }

    pub(super) fn finish(hasher: sha2::Sha256) -> Self {
        Self(format!("sha256:{}", hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(is_digit) => Ok(Self(text.to_owned())),
            _ => Err(format!("`{text}` is not a digest: expected sha256: and 64 hexadecimal digits in lower case")),
        }
    }
}

const EXPECTED: &str =
    "expected oci://HOST/NAME:TAG or oci://HOST/NAME@sha256:DIGEST, for example oci://ghcr.io/acme/ledger:1.0";

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |problem: &str| format!("`{text}`: {problem}; {EXPECTED}");
        let rest = text.strip_prefix("oci://").ok_or_else(|| refuse("it does not begin with oci://"))?;
        let (host, rest) = rest.split_once('/').ok_or_else(|| refuse("it has no name after the host"))?;
        if !is_authority(host) {
            return Err(refuse("the host is not valid"));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|problem: String| refuse(&problem))?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(refuse(
                "the name is not valid: it has parts of lower-case letters and digits, between them `.`, `_` or `-`",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("the tag is not valid: it has at most 128 letters, digits, `_`, `.` and `-`"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(refuse("it has no tag and no digest"));
        }
        Ok(Self { host: host.to_owned(), repository: repository.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

/// Whether it is `HOST` or `HOST:PORT`.
fn is_authority(text: &str) -> bool {
    url::Url::parse(&format!("https://{text}/")).is_ok_and(|url| {
        url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none()
    }) && !text.contains(['@', '?', '#', '\\'])
}

fn is_component(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| is_alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-'))
        && text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().last().is_some_and(is_alphanumeric)
        && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

impl Reference {
    /// What names the manifest in a request.
    pub(super) fn manifest(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => &digest.0,
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }

    /// The last part of the name: `ledger` of `oci://ghcr.io/acme/ledger:1.0`.
    pub fn short_name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.host, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// Whether a host of a URL is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    let name = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    name || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
