//! TLS to granted servers: which certificate authorities are trusted.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// A connector that trusts the authorities in the PEM file `ca` and no others; without `ca`, those that browsers trust. Fails
/// with the problem of the file.
pub(super) fn connector(ca: Option<&Path>) -> Result<TlsConnector, String> {
    static BROWSERS: LazyLock<TlsConnector> =
        LazyLock::new(|| trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));
    match ca {
        None => Ok(BROWSERS.clone()),
        Some(file) => Ok(trusting(authorities(file)?)),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let refuse = |problem: String| format!("`ca` is {}: {problem}", file.display());
    let pem = std::fs::read(file).map_err(|error| refuse(format!("can't read it: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refuse(format!("it is damaged: {error}")))?;
        roots.add(certificate).map_err(|error| refuse(format!("it has an invalid certificate: {error}")))?;
    }
    if roots.is_empty() {
        return Err(refuse("it has no certificate; it must be in PEM format (-----BEGIN CERTIFICATE-----)".into()));
    }
    Ok(roots)
}

fn trusting(roots: RootCertStore) -> TlsConnector {
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what the default versions need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_file_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let refusal = || connector(Some(&file)).err().unwrap();
        assert!(refusal().contains("ca.pem: can't read it"), "{}", refusal());
        for (content, reason) in [
            ("", "it has no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "damaged"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "invalid certificate"),
        ] {
            std::fs::write(&file, content).unwrap();
            assert!(refusal().contains(reason), "{content:?}: {}", refusal());
        }
    }
}
