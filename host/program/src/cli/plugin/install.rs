use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use super::place;
use super::report::{example_grants, size, without_problems, write_problems};
use crate::cli::config_file::ConfigFile;
use crate::cli::output;
use crate::config::{Config, check_name};
use crate::registry::{Digest, Reference, Registry};
use crate::trust::{Lock, Locked, signature_file, verify};
use reflow_tracing::plugin::{Inspection, inspect};

/// Install a plugin from an OCI registry into the plugins folder, and lock its digest in plugins.lock
///
/// A name that is locked to another digest is refused, for example because its tag was moved, unless `--update` is given. The
/// name and the password for the registry are those of `docker login`, or of REFLOW_TRACING_REGISTRY_USERNAME and
/// REFLOW_TRACING_REGISTRY_PASSWORD.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// oci://HOST/NAME:TAG, with or without @sha256:DIGEST
    #[arg(value_name = "OCI-URL")]
    source: Reference,
    /// The name of the plugin [default: the last part of the name in the registry]
    #[arg(long)]
    name: Option<String>,
    /// Replace a version that plugins.lock has
    #[arg(long)]
    update: bool,
    /// Allow plain HTTP, which anybody on the way can change, to other machines
    #[arg(long)]
    insecure: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let Args { source, update, insecure, .. } = args;
    let name = args.name.unwrap_or_else(|| source.short_name().to_owned());
    check_name(&name)
        .map_err(|problem| anyhow!("a plugin can't be named `{name}`: {problem}; choose another with `--name`"))?;
    let folder = &config.plugins.dir;
    let lock = Lock::read(folder).map_err(|problem| anyhow!(problem))?;
    let mut registry = Registry::new(&source, insecure)?;
    let artifact = registry.pull(|manifest| admit(&name, lock.get(&name), &source, manifest, update)).await?;
    let digest = Digest::of(&artifact.component);
    check_signatures(&config, artifact.signatures.as_deref(), &digest)?;
    let inspection = inspected(&artifact.component)?;
    let failed = || format!("can't write into {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    let configured = config.plugins.named.get(&name);
    let file = configured.and_then(|plugin| plugin.file.clone()).unwrap_or_else(|| folder.join(format!("{name}.wasm")));
    // Another process may have installed a plugin meanwhile, also one with this name.
    let (mut lock, guard) = Lock::read_to_change(folder).map_err(|problem| anyhow!(problem))?;
    admit(&name, lock.get(&name), &source, &artifact.manifest, update)?;
    // The file is last: a running host loads it when it changes, and then looks at the others.
    place_signatures(artifact.signatures.as_deref(), &file)?;
    let locked =
        Locked { source: source.to_string(), manifest: artifact.manifest.to_string(), sha256: digest.hex().to_owned() };
    if lock.get(&name) != Some(&locked) {
        lock.set(&name, locked);
        lock.write(folder, &guard).with_context(failed)?;
    }
    place::write(&artifact.component, &file)?;
    drop(guard);
    let usable: Vec<_> = inspection.may_use().collect();
    output::print(|out| {
        writeln!(out, "installed {} ({}) from {source}", file.display(), size(inspection.bytes))?;
        writeln!(out, "manifest  {}\nsha256    {}", artifact.manifest, digest.hex())?;
        if configured.is_none() && !usable.is_empty() {
            let grants = example_grants(&usable, &name);
            writeln!(
                out,
                "it may use {}, if that is granted, for example:\n  [plugins.{name}]\n  {grants}",
                usable.join(", ")
            )?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Refuses a manifest that is not the locked one, unless it may be replaced.
fn admit(
    name: &str,
    locked: Option<&Locked>,
    source: &Reference,
    manifest: &Digest,
    update: bool,
) -> anyhow::Result<()> {
    let Some(locked) = locked.filter(|locked| !update && locked.manifest != manifest.to_string()) else {
        return Ok(());
    };
    if locked.source == source.to_string() {
        bail!(
            "{source} was moved: plugins.lock has the manifest {} for `{name}`, and the registry now has {manifest}. If you trust the \
             new one, install it with `--update`",
            locked.manifest
        );
    }
    bail!(
        "plugins.lock has `{name}` from {} with the manifest {}. To replace it by {source} with {manifest}, use `--update`; to have \
         both, give this one another name with `--name`",
        locked.source,
        locked.manifest
    )
}

/// Checks the signatures if they are required, and says what is wrong with them otherwise.
fn check_signatures(config: &Config, signatures: Option<&str>, digest: &Digest) -> anyhow::Result<()> {
    let trusted = &config.plugins.trusted_keys;
    let problem = match signatures {
        None if !config.plugins.require_signed => return Ok(()),
        None => "it is not signed".to_owned(),
        Some(signatures) => match verify(signatures, digest.hex(), trusted) {
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        },
    };
    if config.plugins.require_signed {
        bail!("nothing was installed: {problem}; `require_signed` in `[plugins]` is true");
    }
    if !trusted.is_empty() {
        tracing::warn!("{problem}; it is installed, because `require_signed` in `[plugins]` is false");
    }
    Ok(())
}

/// Inspects a component that is not in a file yet. Fails if it does not work with this host.
fn inspected(component: &[u8]) -> anyhow::Result<Inspection> {
    let mut temporary = tempfile::Builder::new().suffix(".wasm").tempfile().context("no temporary file")?;
    temporary.write_all(component).context("can't write a temporary file")?;
    let inspection = inspect(temporary.path()).map_err(|error| anyhow!("nothing was installed: {}", error.problem))?;
    if !inspection.problems.is_empty() {
        output::print(|out| write_problems(out, &inspection))?;
    }
    without_problems(&inspection).context("nothing was installed")?;
    Ok(inspection)
}

fn place_signatures(signatures: Option<&str>, plugin: &Path) -> anyhow::Result<()> {
    let file = signature_file(plugin);
    match signatures {
        Some(signatures) => place::write(signatures.as_bytes(), &file),
        None => match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("can't remove {}, which is of another version", file.display()))
            }
            _ => Ok(()),
        },
    }
}
