//! Pulls and pushes components, by the distribution specification of OCI.

use anyhow::{Context, anyhow, ensure};
use hyper::body::Bytes;
use hyper::{Method, StatusCode, header};
use url::Url;

use super::artifact::{Artifact, MANIFEST, MAX_MANIFEST_BYTES, Manifest};
use super::authentication;
use super::credentials::{self, Credentials};
use super::reference::{Digest, Reference};
use super::transport::{Answer, Call, Transport};
use reflow_tracing::plugin::Inspection;

/// One repository of a registry.
pub struct Registry {
    transport: Transport,
    reference: Reference,
    credentials: Option<Credentials>,
    /// What was last answered to the challenge of the registry.
    authorization: Option<String>,
    pushes: bool,
}

impl Registry {
    /// The repository of `reference`. Machines other than this one are reached over TLS, unless it is `insecure`.
    pub fn new(reference: &Reference, insecure: bool) -> anyhow::Result<Self> {
        let credentials = credentials::find(&reference.host)?;
        let transport = Transport::new(insecure);
        Ok(Self { transport, reference: reference.clone(), credentials, authorization: None, pushes: false })
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        let Reference { host, repository, .. } = &self.reference;
        // Docker's own registry has another name.
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let scheme = self.transport.scheme(host);
        let url = format!("{scheme}://{host}/v2/{repository}/{path}");
        Url::parse(&url).map_err(|error| anyhow!("{url} is not valid: {error}"))
    }

    /// Sends a call with the authorization that the registry asks for.
    async fn send(&mut self, call: Call) -> anyhow::Result<Answer> {
        // An upload may go elsewhere.
        let is_ours = call.url.origin() == self.url("")?.origin();
        let attempt = |authorization: Option<&String>| match authorization.filter(|_| is_ours) {
            Some(value) => call.clone().with(header::AUTHORIZATION, value),
            None => Ok(call.clone()),
        };
        let answer = self.transport.send(attempt(self.authorization.as_ref())?).await?;
        // Only the registry may ask, not whoever it redirects to.
        if answer.status() != StatusCode::UNAUTHORIZED || !is_ours || answer.url.origin() != call.url.origin() {
            return Ok(answer);
        }
        let challenge =
            answer.header(header::WWW_AUTHENTICATE).context("the registry refuses without saying how to log in")?;
        let actions = if self.pushes { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", self.reference.repository);
        let credentials = self.credentials.as_ref();
        let authorization = authentication::authorization(&self.transport, challenge, &scope, credentials).await?;
        let answer = self.transport.send(attempt(Some(&authorization))?).await?;
        self.authorization = Some(authorization);
        Ok(answer)
    }

    /// The manifest and its digest; `None` if there is none.
    async fn manifest(&mut self) -> anyhow::Result<Option<(Bytes, Digest)>> {
        let url = self.url(&format!("manifests/{}", self.reference.manifest()))?;
        let accepted = format!("{MANIFEST}, application/vnd.oci.image.index.v1+json;q=0.1");
        let answer = self.send(Call::new(Method::GET, url).with(header::ACCEPT, &accepted)?).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(answer.error("no manifest").await),
        }
        let bytes = answer.body(MAX_MANIFEST_BYTES, "the manifest").await?;
        let digest = Digest::of(&bytes);
        if let Some(wanted) = &self.reference.digest {
            ensure!(digest == *wanted, "the registry gives a manifest with the digest {digest} in place of {wanted}");
        }
        Ok(Some((bytes, digest)))
    }

    /// Pulls the component. `accept` sees the digest of its manifest before anything else is read.
    pub async fn pull(&mut self, accept: impl FnOnce(&Digest) -> anyhow::Result<()>) -> anyhow::Result<Artifact> {
        let reference = self.reference.clone();
        let failed = || format!("can't pull {reference}");
        let (bytes, manifest) = self
            .manifest()
            .await
            .with_context(failed)?
            .with_context(|| format!("{}: the registry has no such component", failed()))?;
        accept(&manifest)?;
        let (component, signatures) = self.layer(&bytes).await.with_context(failed)?;
        Ok(Artifact { manifest, component, signatures })
    }

    async fn layer(&mut self, manifest: &[u8]) -> anyhow::Result<(Vec<u8>, Option<String>)> {
        let manifest = Manifest::read(manifest)?;
        let layer = manifest.layer()?;
        let digest = layer.digest()?;
        let size = usize::try_from(layer.size).context("its component is too large for this machine")?;
        let answer = self.send(Call::new(Method::GET, self.url(&format!("blobs/{digest}"))?)).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.error("no component").await);
        }
        let component = answer.body(size, "the component").await?;
        ensure!(component.len() == size, "the component has {} bytes, but its manifest says {size}", component.len());
        let found = Digest::of(&component);
        ensure!(found == digest, "the component has the digest {found}, but its manifest says {digest}");
        Ok((component.into(), layer.signatures()?))
    }

    /// Pushes a component. Returns the digest of its manifest, and whether the tag had the same component already. Fails when the
    /// tag has another one, unless it may be moved.
    pub async fn push(
        &mut self,
        component: Vec<u8>,
        inspection: &Inspection,
        signatures: Option<&str>,
        may_move: bool,
    ) -> anyhow::Result<(Digest, bool)> {
        self.pushes = true;
        let reference = self.reference.clone();
        let failed = || format!("can't push {reference}");
        if let Some((present, digest)) = self.manifest().await.with_context(failed)? {
            let same = Manifest::read(&present).ok().is_some_and(|manifest| {
                let layer = manifest.layer().ok();
                layer.is_some_and(|layer| {
                    layer.digest().is_ok_and(|layer| layer == Digest::of(&component))
                        && layer.signatures().ok().flatten().as_deref() == signatures
                })
            });
            if same {
                return Ok((digest, true));
            }
            ensure!(
                may_move,
                "{reference} is another component already, {digest}: choose another tag, or move this one with `--move-tag`"
            );
        }
        let (manifest, config) = Manifest::describe(&component, inspection, signatures)?;
        for blob in [config, component] {
            self.push_blob(blob.into()).await.with_context(failed)?;
        }
        let url = self.url(&format!("manifests/{}", self.reference.manifest()))?;
        let digest = Digest::of(&manifest);
        let mut call = Call::new(Method::PUT, url).with(header::CONTENT_TYPE, MANIFEST)?;
        call.body = manifest.into();
        let answer = self.send(call).await.with_context(failed)?;
        if answer.status() != StatusCode::CREATED {
            return Err(answer.error("the manifest was not accepted").await).with_context(failed);
        }
        Ok((digest, false))
    }

    async fn push_blob(&mut self, blob: Bytes) -> anyhow::Result<()> {
        let digest = Digest::of(&blob);
        let present = self.send(Call::new(Method::HEAD, self.url(&format!("blobs/{digest}"))?)).await?;
        if present.status() == StatusCode::OK {
            return Ok(());
        }
        let answer = self.send(Call::new(Method::POST, self.url("blobs/uploads/")?)).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(answer.error("no upload").await);
        }
        let location = answer.header(header::LOCATION).context("the registry does not say where to upload to")?;
        let mut url = answer.url.join(location).context("the registry says an invalid URL to upload to")?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut call = Call::new(Method::PUT, url).with(header::CONTENT_TYPE, "application/octet-stream")?;
        call.body = blob;
        let answer = self.send(call).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(answer.error("the upload was not accepted").await);
        }
        Ok(())
    }
}
