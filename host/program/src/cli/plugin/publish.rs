use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};

use super::report::{without_problems, write_problems};
use crate::cli::output;
use crate::registry::{MAX_COMPONENT_BYTES, Reference, Registry};
use crate::trust::{read_signatures, signature_file, signers};
use reflow_tracing::plugin::inspect;

/// Publish a plugin in an OCI registry, with its signatures if FILE.sig has some
///
/// The artifact is one that other tools of WebAssembly read, for example `wkg oci pull`. The name and the password for the registry
/// are those of `docker login`, or of REFLOW_TRACING_REGISTRY_USERNAME and REFLOW_TRACING_REGISTRY_PASSWORD.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The component
    file: PathBuf,
    /// oci://HOST/NAME:TAG
    #[arg(value_name = "OCI-URL")]
    target: Reference,
    /// Replace what the tag names now
    #[arg(long)]
    move_tag: bool,
    /// Allow plain HTTP, which anybody on the way can change, to other machines
    #[arg(long)]
    insecure: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { file, target, move_tag, insecure } = args;
    ensure!(
        target.digest.is_none() && target.tag.is_some(),
        "{target} has a digest, which the registry computes: give oci://HOST/NAME:TAG"
    );
    let inspection = inspect(&file)?;
    if !inspection.problems.is_empty() {
        output::print(|out| write_problems(out, &inspection))?;
    }
    without_problems(&inspection)?;
    ensure!(
        inspection.bytes <= MAX_COMPONENT_BYTES,
        "{} has {} MiB; at most {} can be installed",
        file.display(),
        inspection.bytes >> 20,
        MAX_COMPONENT_BYTES >> 20
    );
    let signatures = read_signatures(&file).map_err(|problem| anyhow!(problem))?;
    if let Some(signatures) = &signatures {
        signers(signatures, &inspection.sha256).map_err(|problem| {
            anyhow!("{}: {problem}; sign the file again, or remove its signatures", signature_file(&file).display())
        })?;
    }
    let component = std::fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
    let mut registry = Registry::new(&target, insecure)?;
    let (digest, was_there) = registry.push(component, &inspection, signatures.as_deref(), move_tag).await?;
    output::print(|out| {
        let done = if was_there { "was published already" } else { "published" };
        let signed = if signatures.is_some() { ", signed" } else { "" };
        writeln!(out, "{done}: {target}@{digest}{signed}")
    })?;
    Ok(())
}
