use std::path::PathBuf;

use anyhow::anyhow;

use super::place;
use crate::cli::output;
use crate::trust::{SigningKey, read_signatures, signature_file, signers};
use reflow_tracing::plugin::inspect;

/// Sign a plugin file with an Ed25519 key, into FILE.sig, and print the public key
///
/// `openssl genpkey -algorithm ed25519 -out plugin.key` makes a key. A host accepts only signed plugins with `require_signed` and
/// `trusted_keys` in `[plugins]`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The component
    file: PathBuf,
    /// The private key: PKCS#8 in PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let sha256 = inspect(&args.file)?.sha256;
    let key = SigningKey::read(&args.key)?;
    let signature = key.sign(&sha256);
    // Those of other keys stay if they are of the same content.
    let present = read_signatures(&args.file).map_err(|problem| anyhow!(problem))?.unwrap_or_default();
    let others = present.lines().filter(|line| signers(line, &sha256).is_ok_and(|keys| keys != [key.public()]));
    let signatures: String = others.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    let file = signature_file(&args.file);
    place::write(format!("{signatures}{signature}").as_bytes(), &file)?;
    output::print(|out| {
        writeln!(out, "signed {} into {}", args.file.display(), file.display())?;
        writeln!(
            out,
            "to trust this key, set in the configuration:\n  [plugins]\n  trusted_keys = [\"{}\"]",
            key.public()
        )
    })?;
    Ok(())
}
