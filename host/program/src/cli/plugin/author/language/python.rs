//! Python: componentize-py puts the interpreter, the plugin and the modules that it imports into a component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::kit::{File, Kit, Over, Source, contract, copied, filled, sources};
use super::tool;

pub(super) const KIT: Kit =
    Kit { over: &[Over::Keyvalue, Over::Sql, Over::Redis, Over::Http], source: "app.py", files, build };

/// The version that new plugins pin, and that the SDK works with.
const VERSION: &str = "0.25.1";
const TOOL: &str = "componentize-py";

/// What a new plugin imports beside what it stores in: what needs no grant.
const CAPABILITIES: [&str; 3] = ["config", "log", "metrics"];

/// A template over a capability.
struct Template {
    /// Its file with placeholders.
    app: &'static [Source],
    /// Files that are copied unchanged.
    copied: &'static [Source],
    /// The rows about these files in the README.
    rows: &'static str,
}

fn template(over: Over) -> Template {
    match over {
        Over::Keyvalue => Template {
            app: sources! { "app.py" from "python/template/keyvalue/app.py" },
            copied: sources! {
                "header.py" from "python/template/header.py",
                "layout.py" from "python/template/keyvalue/layout.py",
                "search.py" from "python/template/keyvalue/search.py",
                "test_layout.py" from "python/template/keyvalue/test_layout.py",
            },
            rows: "| `layout.py`, `header.py` | how it stores |\n| `search.py` | how it finds |\n",
        },
        Over::Sql => Template {
            app: sources! { "app.py" from "python/template/sql/app.py" },
            copied: sources! {
                "query.py" from "python/template/sql/query.py",
                "schema.sql" from "template/src/schema.sql",
                "test_query.py" from "python/template/sql/test_query.py",
            },
            rows: "| `schema.sql` | its tables |\n| `query.py` | queries as SQL |\n",
        },
        Over::Redis => Template {
            app: sources! { "app.py" from "python/template/redis/app.py" },
            copied: sources! {
                "header.py" from "python/template/header.py",
                "layout.py" from "python/template/redis/layout.py",
                "search.py" from "python/template/redis/search.py",
                "test_layout.py" from "python/template/redis/test_layout.py",
            },
            rows: "| `layout.py`, `header.py` | how it stores |\n| `search.py` | how it finds |\n",
        },
        Over::Http => Template {
            app: sources! { "app.py" from "python/template/http/app.py" },
            copied: sources! { "test_app.py" from "python/template/http/test_app.py" },
            rows: "",
        },
    }
}

/// Files of all templates, with placeholders between `{{` and `}}`.
const FILLED: &[Source] = sources! {
    "README.md" from "python/template/README.md",
    "plugin.toml" from "python/template/plugin.toml",
};

/// What all templates share as it is.
const SHARED: &[Source] = sources! {
    ".gitignore" from "python/template/gitignore",
    "requirements.txt" from "python/template/requirements.txt",
    "docs/writing-a-plugin.md" from "writing-a-plugin.md",
    "docs/python.md" from "python/README.md",
    "reflow_tracing_plugin/__init__.py" from "python/reflow_tracing_plugin/__init__.py",
    "reflow_tracing_plugin/backend.py" from "python/reflow_tracing_plugin/backend.py",
    "reflow_tracing_plugin/batch.py" from "python/reflow_tracing_plugin/batch.py",
    "reflow_tracing_plugin/bindings.py" from "python/reflow_tracing_plugin/bindings.py",
    "reflow_tracing_plugin/capability.py" from "python/reflow_tracing_plugin/capability.py",
    "reflow_tracing_plugin/config.py" from "python/reflow_tracing_plugin/config.py",
    "reflow_tracing_plugin/errors.py" from "python/reflow_tracing_plugin/errors.py",
    "reflow_tracing_plugin/export.py" from "python/reflow_tracing_plugin/export.py",
    "reflow_tracing_plugin/http.py" from "python/reflow_tracing_plugin/http.py",
    "reflow_tracing_plugin/keys.py" from "python/reflow_tracing_plugin/keys.py",
    "reflow_tracing_plugin/keyvalue.py" from "python/reflow_tracing_plugin/keyvalue.py",
    "reflow_tracing_plugin/log.py" from "python/reflow_tracing_plugin/log.py",
    "reflow_tracing_plugin/metrics.py" from "python/reflow_tracing_plugin/metrics.py",
    "reflow_tracing_plugin/model.py" from "python/reflow_tracing_plugin/model.py",
    "reflow_tracing_plugin/parts.py" from "python/reflow_tracing_plugin/parts.py",
    "reflow_tracing_plugin/py.typed" from "python/reflow_tracing_plugin/py.typed",
    "reflow_tracing_plugin/redis.py" from "python/reflow_tracing_plugin/redis.py",
    "reflow_tracing_plugin/render.py" from "python/reflow_tracing_plugin/render.py",
    "reflow_tracing_plugin/secrets.py" from "python/reflow_tracing_plugin/secrets.py",
    "reflow_tracing_plugin/sql.py" from "python/reflow_tracing_plugin/sql.py",
    "reflow_tracing_plugin/time.py" from "python/reflow_tracing_plugin/time.py",
    "reflow_tracing_plugin/uuids.py" from "python/reflow_tracing_plugin/uuids.py",
};

fn files(name: &str, over: Over) -> anyhow::Result<Vec<File>> {
    let Template { app, copied: own, rows } = template(over);
    let imports = [over.imports(), &CAPABILITIES].concat();
    let with_placeholders = filled(FILLED, name).chain(filled(app, name)).map(|File { path, text }| File {
        path,
        text: text
            .replace("{{does}}", over.does())
            .replace("{{configuration}}", &over.configuration(name))
            .replace("{{files}}", rows),
    });
    Ok(with_placeholders.chain(copied(own)).chain(copied(SHARED)).chain(contract(&imports)).collect())
}

fn build(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let environment = folder.join(".venv");
    let programs = environment.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let wanted = pinned(folder)?.unwrap_or_else(|| VERSION.into());
    let install = format!(
        "install it with\n  python3 -m venv {} && {} install {TOOL}=={wanted}",
        environment.display(),
        programs.join("pip").display()
    );
    let Some(compiler) = tool::find(TOOL, &[programs]) else {
        bail!(
            "{TOOL}, which compiles plugins in Python, is neither in {} nor on the PATH: {install}",
            environment.display()
        );
    };
    let version = tool::output(Command::new(&compiler).arg("--version"))?;
    if version.split_whitespace().nth(1) != Some(wanted.as_str()) {
        bail!("{} is {}, but the plugin needs {wanted}: {install}", compiler.display(), version.trim());
    }
    let output = folder.join("build");
    fs::create_dir_all(&output).with_context(|| format!("can't create {}", output.display()))?;
    let component = output.join(format!("{name}.wasm"));
    let mut command = Command::new(compiler);
    command.arg("--quiet").arg("--wit-path").arg(folder.join("wit")).args(["--world", "local:backend/plugin"]);
    command.args(["componentize", "app", "--python-path"]).arg(folder).arg("--output").arg(&component);
    // The compiler does not follow a link out of a folder.
    let sdk = folder.join("reflow_tracing_plugin");
    if sdk.is_symlink() {
        let sdk = sdk.canonicalize().with_context(|| format!("can't find {}", sdk.display()))?;
        command.arg("--python-path").arg(sdk.parent().unwrap_or(&sdk));
    }
    // Packages that the plugin imports are looked for there, if it has such a folder.
    if environment.is_dir() {
        command.env("VIRTUAL_ENV", &environment);
    }
    tool::run(&mut command, &format!("the plugin in {}", folder.display()))?;
    Ok(component)
}

/// The version of the compiler that `requirements.txt` names.
fn pinned(folder: &Path) -> anyhow::Result<Option<String>> {
    let file = folder.join("requirements.txt");
    if !file.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix(TOOL)?.trim().strip_prefix("=="));
    Ok(version.map(|version| version.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::kit::listed::files_in;
    use super::*;

    fn written(over: Over) -> BTreeSet<String> {
        files("ledger", over).unwrap().into_iter().map(|file| file.path.trim_start_matches('.').to_owned()).collect()
    }

    #[test]
    fn every_file_of_the_sdk_and_of_the_templates_is_written() {
        let folders = [("keyvalue", Over::Keyvalue), ("sql", Over::Sql), ("redis", Over::Redis), ("http", Over::Http)];
        let all = files_in("sdk/python/template");
        let shared = all.iter().filter(|file| !file.contains('/')).cloned();
        let sdk = files_in("sdk/python/reflow_tracing_plugin").into_iter();
        let mut shared: BTreeSet<_> = shared.chain(sdk.map(|file| format!("reflow_tracing_plugin/{file}"))).collect();
        // How a header is stored matters to those templates that store one themselves.
        assert!(shared.remove("header.py"));
        for (folder, over) in folders {
            let own = all.iter().filter_map(|file| file.strip_prefix(&format!("{folder}/"))).map(str::to_owned);
            let written = written(over);
            let missing: Vec<_> = own.chain(shared.clone()).filter(|file| !written.contains(file)).collect();
            assert!(missing.is_empty(), "{missing:?} are not in the lists in {}", file!());
            assert_eq!(written.contains("header.py"), [Over::Keyvalue, Over::Redis].contains(&over));
        }
    }

    #[test]
    fn no_placeholder_is_left() {
        for over in KIT.over {
            for file in files("ledger", *over).unwrap() {
                let left = ["name", "does", "configuration", "files", "contract"].map(|word| format!("{{{{{word}}}}}"));
                assert!(!left.iter().any(|word| file.text.contains(word)), "{}", file.path);
            }
        }
    }

    #[test]
    fn the_pinned_version_is_that_of_the_template() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(pinned(folder.path()).unwrap(), None);
        let template = SHARED.iter().find(|file| file.path == "requirements.txt").unwrap();
        fs::write(folder.path().join("requirements.txt"), template.text).unwrap();
        assert_eq!(pinned(folder.path()).unwrap().as_deref(), Some(VERSION));
    }

    #[test]
    fn the_example_is_the_template() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/keyvalue-python");
        for file in files("keyvalue-python", Over::Keyvalue).unwrap() {
            if file.path.ends_with(".py") || file.path.ends_with(".wit") {
                assert_eq!(fs::read_to_string(example.join(&file.path)).unwrap(), file.text, "{}", file.path);
            }
        }
    }
}
