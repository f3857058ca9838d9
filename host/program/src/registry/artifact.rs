//! The manifest of a component: an OCI image manifest with one layer, as the tools of WebAssembly write it.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::reference::Digest;
use reflow_tracing::plugin::Inspection;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
/// The annotation of the layer that holds its signatures.
const SIGNATURE: &str = "dev.reflow.tracing.signature";

/// The largest component that is pulled.
pub const MAX_COMPONENT_BYTES: u64 = 256 * 1024 * 1024;
/// The longest manifest. Registries accept no more.
pub(super) const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The longest signature that is kept.
const MAX_SIGNATURE_BYTES: usize = 64 * 1024;

/// A component from a registry.
pub struct Artifact {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Its bytes.
    pub component: Vec<u8>,
    /// The lines of its signatures, if there are any.
    pub signatures: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: String,
    digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// The configuration of an artifact.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: DateTime<Utc>,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [String; 1],
    component: Interfaces<'a>,
}

#[derive(Serialize)]
struct Interfaces<'a> {
    exports: &'a [String],
    imports: &'a [String],
}

impl Descriptor {
    fn of(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.into(),
            digest: Digest::of(content).to_string(),
            size: content.len() as u64,
            annotations: BTreeMap::new(),
        }
    }

    pub(super) fn digest(&self) -> anyhow::Result<Digest> {
        self.digest.parse().map_err(|problem: String| anyhow!("{problem}"))
    }

    pub(super) fn signatures(&self) -> anyhow::Result<Option<String>> {
        let signatures = self.annotations.get(SIGNATURE);
        let is_short = signatures.is_none_or(|text| text.len() <= MAX_SIGNATURE_BYTES);
        ensure!(is_short, "its signature is longer than {MAX_SIGNATURE_BYTES} bytes");
        Ok(signatures.cloned())
    }
}

impl Manifest {
    /// The manifest of a component, and its configuration.
    pub(super) fn describe(
        component: &[u8],
        inspection: &Inspection,
        signatures: Option<&str>,
    ) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
        let mut layer = Descriptor::of(LAYER, component);
        layer.annotations.extend(signatures.map(|text| (SIGNATURE.to_owned(), text.to_owned())));
        let config = serde_json::to_vec(&Config {
            created: Utc::now(),
            architecture: "wasm",
            os: "wasip2",
            layer_digests: [layer.digest.clone()],
            component: Interfaces { exports: &inspection.exports, imports: &inspection.imports },
        })?;
        let manifest = Self {
            schema_version: 2,
            media_type: Some(MANIFEST.into()),
            config: Descriptor::of(CONFIG, &config),
            layers: vec![layer],
        };
        Ok((serde_json::to_vec(&manifest)?, config))
    }

    /// Reads a manifest. Fails if it is not that of a component.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Any {
            media_type: Option<String>,
        }
        let Any { media_type } = serde_json::from_slice(bytes).context("its manifest is not valid")?;
        if let Some(other) = media_type.filter(|media_type| media_type != MANIFEST) {
            return Err(anyhow!("it is not a component but has the media type `{other}`: expected `{MANIFEST}`"));
        }
        let manifest: Self = serde_json::from_slice(bytes).context("its manifest is not valid")?;
        ensure!(
            manifest.config.media_type == CONFIG,
            "it is not a component but has a configuration of the media type `{}`: expected `{CONFIG}`, as \
             `reflow-tracing plugin publish` and `wkg oci push` write it",
            manifest.config.media_type
        );
        Ok(manifest)
    }

    /// The layer with the component.
    pub(super) fn layer(&self) -> anyhow::Result<&Descriptor> {
        let [layer] = self.layers.as_slice() else {
            return Err(anyhow!("it has {} layers: expected one, the component", self.layers.len()));
        };
        ensure!(layer.media_type == LAYER, "its layer has the media type `{}`: expected `{LAYER}`", layer.media_type);
        ensure!(
            layer.size <= MAX_COMPONENT_BYTES,
            "its component has {} MiB; at most {} are accepted",
            layer.size >> 20,
            MAX_COMPONENT_BYTES >> 20
        );
        Ok(layer)
    }
}
