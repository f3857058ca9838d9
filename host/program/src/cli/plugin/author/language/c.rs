//! C and C++: clang or Zig compiles the plugin's sources, the SDK and the generated bindings, without a build system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::kit::{File, Kit, Over, Source, contract, copied, filled, sources};
use super::{bindings, tool};

pub(super) const KIT: Kit =
    Kit { over: &[Over::Keyvalue, Over::Sql, Over::Redis, Over::Http], source: "src/backend.c", files, build };

/// What every template has, with placeholders.
const FILLED: &[Source] = sources! {
    "plugin.toml" from "c/template/plugin.toml",
    "README.md" from "c/template/README.md",
    ".gitignore" from "c/template/gitignore",
};

/// A template over a capability.
struct Template {
    /// What its README says about the files, behind the first.
    about: &'static str,
    /// Each test: its name, and the sources that it needs.
    tests: &'static [(&'static str, &'static str)],
    sources: &'static [Source],
}

const OVER_KEYVALUE: Template = Template {
    about: ", `src/layout.c` says where things are in the bucket, `src/header.c` how a header is stored, and `src/query.c` finds traces",
    tests: &[("header_test", "src/header.c")],
    sources: sources! {
        "src/backend.c" from "c/template/keyvalue/src/backend.c",
        "src/header.c" from "c/template/header.c",
        "src/header.h" from "c/template/header.h",
        "src/layout.c" from "c/template/keyvalue/src/layout.c",
        "src/layout.h" from "c/template/keyvalue/src/layout.h",
        "src/query.c" from "c/template/keyvalue/src/query.c",
        "src/query.h" from "c/template/keyvalue/src/query.h",
        "test/header_test.c" from "c/template/header_test.c",
    },
};

const OVER_SQL: Template = Template {
    about: ", `src/query.c` holds its queries, and `src/schema.sql` its tables, which the compiler embeds: that needs clang 19 or newer, as Zig has it",
    tests: &[("query_test", "sdk/sql.c src/query.c")],
    sources: sources! {
        "src/backend.c" from "c/template/sql/src/backend.c",
        "src/query.c" from "c/template/sql/src/query.c",
        "src/query.h" from "c/template/sql/src/query.h",
        "src/schema.sql" from "template/src/schema.sql",
        "test/query_test.c" from "c/template/sql/test/query_test.c",
    },
};

const OVER_REDIS: Template = Template {
    about: ", `src/layout.h` says which keys there are, `src/header.c` how a header is stored, and `src/query.c` finds traces",
    tests: &[("header_test", "src/header.c"), ("layout_test", "sdk/redis.c src/header.c src/layout.c")],
    sources: sources! {
        "src/backend.c" from "c/template/redis/src/backend.c",
        "src/header.c" from "c/template/header.c",
        "src/header.h" from "c/template/header.h",
        "src/layout.c" from "c/template/redis/src/layout.c",
        "src/layout.h" from "c/template/redis/src/layout.h",
        "src/query.c" from "c/template/redis/src/query.c",
        "src/query.h" from "c/template/redis/src/query.h",
        "test/header_test.c" from "c/template/header_test.c",
        "test/layout_test.c" from "c/template/redis/test/layout_test.c",
    },
};

const OVER_HTTP: Template = Template {
    about: ", `src/lines.c` writes the lines. A line is a header, or \
            `{\"trace_id\": .., \"event\": ..}`; one may arrive twice, because the host calls again after an error",
    tests: &[("lines_test", "sdk/batch.c src/lines.c")],
    sources: sources! {
        "src/backend.c" from "c/template/http/src/backend.c",
        "src/lines.c" from "c/template/http/src/lines.c",
        "src/lines.h" from "c/template/http/src/lines.h",
        "test/lines_test.c" from "c/template/http/test/lines_test.c",
    },
};

const COPIES: &[Source] = sources! {
    "sdk/README.md" from "c/README.md",
    "sdk/arena.c" from "c/arena.c",
    "sdk/batch.c" from "c/batch.c",
    "sdk/bytes.c" from "c/bytes.c",
    "sdk/error.c" from "c/error.c",
    "sdk/exports.c" from "c/exports.c",
    "sdk/forwarder.h" from "c/forwarder.h",
    "sdk/http.c" from "c/http.c",
    "sdk/http.h" from "c/http.h",
    "sdk/http_error.c" from "c/http_error.c",
    "sdk/http_error.h" from "c/http_error.h",
    "sdk/http_url.c" from "c/http_url.c",
    "sdk/http_url.h" from "c/http_url.h",
    "sdk/keyvalue.c" from "c/keyvalue.c",
    "sdk/redis.c" from "c/redis.c",
    "sdk/redis.h" from "c/redis.h",
    "sdk/reflow.h" from "c/reflow.h",
    "sdk/render.h" from "c/render.h",
    "sdk/sql.c" from "c/sql.c",
    "sdk/sql.h" from "c/sql.h",
};

fn files(name: &str, over: Over) -> anyhow::Result<Vec<File>> {
    let template = match over {
        Over::Keyvalue => OVER_KEYVALUE,
        Over::Sql => OVER_SQL,
        Over::Redis => OVER_REDIS,
        Over::Http => OVER_HTTP,
    };
    let tests: Vec<_> = template.tests.iter().map(|(test, sources)| native_test(test, sources)).collect();
    let values = [
        ("{{does}}", over.does()),
        ("{{configuration}}", &over.configuration(name)),
        ("{{about}}", template.about),
        ("{{tests}}", &tests.join("\n")),
    ];
    let own = filled(FILLED, name).map(|file| file.with(&values)).chain(copied(template.sources));
    Ok(own.chain(copied(COPIES)).chain(contract(&over.imports_with(&["log", "config"]))).collect())
}

/// What compiles and runs a test of a plugin on the author's machine. Functions of the host that it does not call are left out.
fn native_test(name: &str, sources: &str) -> String {
    format!(
        "cc -ffunction-sections -Wl,--gc-sections -Isrc -Isdk -Ibindings \\\n  sdk/arena.c sdk/bytes.c sdk/error.c {sources} \
         test/{name}.c -o build/{name}\nbuild/{name}"
    )
}

/// Generates the bindings of the plugin in `folder`.
pub(in crate::cli::plugin) fn bindings(folder: &Path) -> anyhow::Result<PathBuf> {
    let options = wit_bindgen_c::Opts { autodrop_borrows: wit_bindgen_c::Enabled::Yes, ..Default::default() };
    bindings::write(folder, options.build(), |_| vec![])
}

fn build(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let mut command = compiler()?;
    let mut sources = sources_in(&folder.join("src"))?;
    ensure!(!sources.is_empty(), "{} has no file that ends with .c or .cpp", folder.join("src").display());
    sources.extend(sources_in(&folder.join("sdk"))?);
    bindings(folder)?;
    let built = folder.join("build").join(format!("{name}.wasm"));
    fs::create_dir_all(folder.join("build")).with_context(|| format!("can't write {}", built.display()))?;
    command.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-g", "-Wall", "-fno-exceptions"]);
    // Zig would leave assertions out of optimised code.
    command.arg("-UNDEBUG");
    // Zig's default is 16 MB of stack, which every instance would take.
    command.args(["-Wl,-z,stack-size=131072", "-Wl,--strip-debug"]);
    command.arg(format!("-DPLUGIN_NAME=\"{name}\""));
    for include in ["src", "sdk", "bindings"] {
        command.arg("-I").arg(folder.join(include));
    }
    command.args(sources).arg(folder.join("bindings/plugin_component_type.o")).arg("-o").arg(&built);
    tool::run(&mut command, &format!("the plugin in {}", folder.display()))?;
    Ok(built)
}

/// The sources in a folder and the folders in it, in order.
fn sources_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("can't read the folder {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.is_dir() {
            // Those of the SDK's repository.
            if !["template", "test"].iter().any(|name| path.ends_with(name)) {
                found.extend(sources_in(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "c" || extension == "cpp") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A compiler that has WebAssembly's C library, with the arguments that come first.
fn compiler() -> anyhow::Result<Command> {
    if let Some(sdk) = std::env::var_os("WASI_SDK_PATH") {
        let clang = tool::find("clang", &[Path::new(&sdk).join("bin")]);
        let missing = || format!("WASI_SDK_PATH is {}, but that has no bin/clang", Path::new(&sdk).display());
        return Ok(Command::new(clang.with_context(missing)?));
    }
    // By PyPI's package, Zig is called `python-zig`.
    for zig in ["zig", "python-zig"] {
        if let Some(zig) = tool::find(zig, &[]) {
            return Ok(with(zig, &["cc"]));
        }
    }
    let clangs = ["clang".to_owned()].into_iter().chain((16..=24).rev().map(|version| format!("clang-{version}")));
    if let Some(clang) = clangs.filter_map(|name| tool::find(&name, &[])).find(|clang| has_wasi(clang)) {
        return Ok(Command::new(clang));
    }
    for python in ["python3", "python"] {
        if let Some(python) = tool::find(python, &[])
            && tool::output(Command::new(&python).args(["-c", "import ziglang"])).is_ok()
        {
            return Ok(with(python, &["-m", "ziglang", "cc"]));
        }
    }
    bail!(
        "no C compiler for WebAssembly is on the PATH: install one, with\n  pip install ziglang==0.17.1\nor, on Debian, with\n  \
         apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32\nor set WASI_SDK_PATH to the folder of a WASI SDK"
    )
}

fn with(program: PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Whether clang has the C library for WASI, the start file for a library, and its own functions for WebAssembly.
fn has_wasi(clang: &Path) -> bool {
    let has = |asked: &[&str]| {
        let said = tool::output(Command::new(clang).arg("--target=wasm32-wasi").args(asked));
        said.is_ok_and(|said| Path::new(said.trim()).is_file())
    };
    has(&["-print-file-name=crt1-reactor.o"]) && has(&["-print-libgcc-file-name"])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::kit::listed::files_in;
    use super::*;

    #[test]
    fn every_file_of_the_sdk_and_of_the_template_is_written() {
        let is_copied = |path: &String| !path.starts_with("template/") && !path.starts_with("test/");
        let sdk: Vec<_> = files_in("sdk/c").into_iter().filter(is_copied).map(|path| format!("sdk/{path}")).collect();
        for (over, folder) in
            [(Over::Keyvalue, "keyvalue"), (Over::Sql, "sql"), (Over::Redis, "redis"), (Over::Http, "http")]
        {
            let template = files_in(&format!("sdk/c/template/{folder}"));
            let written: BTreeSet<_> = files("ledger", over).unwrap().into_iter().map(|file| file.path).collect();
            let missing: Vec<_> = sdk.iter().chain(&template).filter(|file| !written.contains(*file)).collect();
            assert!(missing.is_empty(), "{missing:?} are not in the lists in {}", file!());
        }
    }

    #[test]
    fn sources_are_found_in_folders_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("store")).unwrap();
        for file in ["b.c", "a.cpp", "a.h", "notes.txt", "store/c.c"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let found = sources_in(folder.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.cpp", "b.c", "store/c.c"]);
        assert!(format!("{:#}", sources_in(&folder.path().join("gone")).unwrap_err()).contains("gone"));
    }
}
