//! Signatures of plugins: Ed25519 over the SHA-256 of the file, in a file beside it.
//!
//! A line of that file is one signature: `ed25519:PUBLIC-KEY SIGNATURE`, both in base64. A signature says who vouches for the
//! content; it says nothing about the name or the version of the plugin.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The longest file of signatures that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// Before the digest, so that a signature for another purpose is not one of a plugin.
const PURPOSE: &str = "reflow-tracing plugin, version 1, sha256 ";

/// A key that the operator trusts: `ed25519:` and 32 bytes in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", BASE64_STANDARD.encode(self.0))
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix("ed25519:").and_then(|base64| BASE64_STANDARD.decode(base64).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            format!(
                "`{text}` is not a public key: expected `ed25519:` and 32 bytes in base64, as `reflow-tracing plugin sign` prints it"
            )
        })
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A private key.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a key in PKCS#8, PEM, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let failed = || {
            format!(
                "{} is not an Ed25519 key in PEM; `openssl genpkey -algorithm ed25519 -out {0}` makes one",
                file.display()
            )
        };
        let pem = std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).with_context(failed)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        pair.map(Self).map_err(|error| anyhow!("{error}")).with_context(failed)
    }

    /// Its public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes"))
    }

    /// The signature of a file with this digest, a line.
    pub fn sign(&self, sha256: &str) -> String {
        let signature = self.0.sign(format!("{PURPOSE}{sha256}").as_bytes());
        format!("{} {}\n", self.public(), BASE64_STANDARD.encode(signature.as_ref()))
    }
}

/// The file with the signatures of a plugin: `ledger.wasm.sig`.
pub fn signature_file(plugin: &Path) -> PathBuf {
    let mut name = plugin.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// Whether one of the `trusted` keys signed a file with this digest, by the lines of `signatures`.
pub fn verify(signatures: &str, sha256: &str, trusted: &[PublicKey]) -> Result<(), String> {
    let mut strangers = Vec::new();
    for line in signatures.lines().filter(|line| !line.trim().is_empty()) {
        let (key, signature) = line.trim().split_once(' ').ok_or("a line is not a key and a signature")?;
        let key: PublicKey = key.parse()?;
        let signature = BASE64_STANDARD.decode(signature.trim()).map_err(|_| "a signature is not in base64")?;
        if !trusted.contains(&key) {
            strangers.push(key.to_string());
            continue;
        }
        let signed = format!("{PURPOSE}{}", sha256.to_ascii_lowercase());
        return UnparsedPublicKey::new(&ED25519, key.0).verify(signed.as_bytes(), &signature).map_err(|_| {
            format!("the signature of {key} is not one of this file: the file was changed after it was signed")
        });
    }
    Err(match strangers.as_slice() {
        [] => "it has no signature".into(),
        strangers => {
            format!("it is signed by {}, which `trusted_keys` in `[plugins]` does not have", strangers.join(", "))
        }
    })
}

/// The keys of signatures that are all of a file with this digest.
pub fn signers(signatures: &str, sha256: &str) -> Result<Vec<PublicKey>, String> {
    let lines = signatures.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let key: PublicKey = line.trim().split(' ').next().unwrap_or_default().parse()?;
            verify(line, sha256, std::slice::from_ref(&key))?;
            Ok(key)
        })
        .collect()
}

/// Reads the signatures of a plugin; `None` if there are none.
pub fn read(plugin: &Path) -> Result<Option<String>, String> {
    let file = signature_file(plugin);
    let failed = |error: io::Error| format!("can't read {}: {error}", file.display());
    match std::fs::metadata(&file) {
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            Err(format!("{} is longer than {MAX_BYTES} bytes", file.display()))
        }
        Ok(_) => std::fs::read_to_string(&file).map(Some).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use ring::rand::SystemRandom;

    use super::*;

    fn key() -> SigningKey {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(key.as_ref())
        );
        std::fs::write(&file, pem).unwrap();
        SigningKey::read(&file).unwrap()
    }

    #[test]
    fn a_signature_is_accepted_for_its_file_and_a_trusted_key_only() {
        let (key, other) = (key(), PublicKey([7; 32]));
        let signed = key.sign("abcd");
        let public: PublicKey = key.public().to_string().parse().unwrap();
        verify(&signed, "abcd", &[other.clone(), public.clone()]).unwrap();
        let changed = verify(&signed, "abce", from_ref(&public)).unwrap_err();
        assert!(changed.contains("changed after it was signed"), "{changed}");
        let stranger = verify(&signed, "abcd", from_ref(&other)).unwrap_err();
        assert!(stranger.contains(&public.to_string()) && stranger.contains("trusted_keys"), "{stranger}");
        // Somebody else's line before it changes nothing; a forged line of a trusted key is refused.
        let two = format!("{other} {}\n{signed}", BASE64_STANDARD.encode([0; 64]));
        verify(&two, "abcd", from_ref(&public)).unwrap();
        let forged = format!("{public} {}\n", BASE64_STANDARD.encode([0; 64]));
        verify(&forged, "abcd", from_ref(&public)).unwrap_err();
        assert_eq!(signers(&signed, "abcd"), Ok(vec![public.clone()]));
        signers(&two, "abcd").unwrap_err();
        for nothing in ["", "\n", "x", "ed25519:AAAA x"] {
            verify(nothing, "abcd", from_ref(&public)).unwrap_err();
        }
    }

    #[test]
    fn a_file_that_is_not_a_key_is_an_error_that_says_how_to_make_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        for content in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            std::fs::write(&file, content).unwrap();
            let error = format!("{:#}", SigningKey::read(&file).err().expect("an error"));
            assert!(error.contains("openssl genpkey -algorithm ed25519"), "{error}");
        }
        let error = SigningKey::read(Path::new("nowhere.pem")).err().expect("an error");
        assert!(format!("{error:#}").contains("nowhere.pem"), "{error:#}");
    }
}
