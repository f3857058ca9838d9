//! C and C++: clang or Zig compiles the plugin's sources, the SDK and the generated bindings.
use std::path::{Path, PathBuf};
use super::kit::{File, Kit, Over, Source, contract, copied, filled, sources};
use super::bindings;

pub(super) const KIT: Kit = Kit { over: &[Over::Keyvalue], source: "src/backend.c", files, build };

fn files(name: &str, _: Over) -> anyhow::Result<Vec<File>> {
    Ok(filled(TEMPLATE, name).chain(copied(COPIES)).chain(contract(&["keyvalue", "log", "config"])).collect())
}
const TEMPLATE: &[Source] = sources! {};
const COPIES: &[Source] = sources! {};

/// Generates the bindings of the plugin in `folder`.
pub(in crate::cli::plugin) fn bindings(folder: &Path) -> anyhow::Result<PathBuf> {
    let options = wit_bindgen_c::Opts { autodrop_borrows: wit_bindgen_c::Enabled::Yes, ..Default::default() };
    bindings::write(folder, options.build(), &[])
}

fn build(_folder: &Path, _name: &str) -> anyhow::Result<PathBuf> {
    anyhow::bail!("not yet")
}
