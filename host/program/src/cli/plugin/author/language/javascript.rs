//! TypeScript and JavaScript: `sdk/build.js` in the plugin's folder joins its files and makes a component of them, with an engine inside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::kit::{File, Kit, Over, Source, contract, copied, filled, sources};
use super::tool;

const OVER: &[Over] = &[Over::Keyvalue, Over::Sql, Over::Redis, Over::Http];

pub(super) const TYPESCRIPT: Kit = Kit {
    over: OVER,
    source: "src/plugin.ts",
    files: |name, over| Ok(files(name, over, &TYPESCRIPT_TEMPLATE)),
    build: |folder, name| {
        let tools = Tools::find(folder)?;
        tools.check_types(folder)?;
        tools.build(folder, name)
    },
};

pub(super) const JAVASCRIPT: Kit = Kit {
    over: OVER,
    source: "src/plugin.js",
    files: |name, over| Ok(files(name, over, &JAVASCRIPT_TEMPLATE)),
    build: |folder, name| Tools::find(folder)?.build(folder, name),
};

/// What a new plugin imports beside what it stores in: what needs no grant.
const CAPABILITIES: [&str; 3] = ["config", "log", "metrics"];

/// The oldest Node.js that the tools run on.
const NODE: u32 = 20;
/// The packages that compile a plugin. Its package.json pins their versions.
const PACKAGES: [&str; 4] = [COMPONENTIZE, "@bytecodealliance/jco", "rolldown", "typescript"];
const COMPONENTIZE: &str = "@bytecodealliance/componentize-js";

/// The files of a new plugin in one of the languages.
struct Template {
    language: &'static str,
    extension: &'static str,
    filled: &'static [Source],
    copied: &'static [Source],
    keyvalue: &'static [Source],
    sql: &'static [Source],
    redis: &'static [Source],
    http: &'static [Source],
}

impl Template {
    /// What it has for plugins over this capability, and the rows about these files in the README.
    fn over(&self, over: Over) -> (&'static [Source], &'static str) {
        match over {
            Over::Keyvalue => (
                self.keyvalue,
                "| `src/keys.{{extension}}`, `src/header.{{extension}}` | how it stores |\n\
                 | `src/query.{{extension}}`, `src/walk.{{extension}}` | how it finds |\n",
            ),
            Over::Sql => {
                (self.sql, "| `src/schema.sql` | its tables |\n| `src/query.{{extension}}` | queries as SQL |\n")
            }
            Over::Redis => (
                self.redis,
                "| `src/keys.{{extension}}`, `src/header.{{extension}}` | how it stores |\n\
                 | `src/query.{{extension}}` | how it finds |\n",
            ),
            Over::Http => (self.http, ""),
        }
    }
}

const TYPESCRIPT_TEMPLATE: Template = Template {
    language: "TypeScript",
    extension: "ts",
    filled: sources! {
        "package.json" from "javascript/template/typescript/package.json",
        "plugin.toml" from "javascript/template/typescript/plugin.toml",
    },
    copied: sources! {
        "tsconfig.json" from "javascript/template/typescript/tsconfig.json",
    },
    keyvalue: sources! {
        "src/header.ts" from "javascript/template/typescript/header.ts",
        "src/keys.ts" from "javascript/template/typescript/keyvalue/src/keys.ts",
        "src/plugin.ts" from "javascript/template/typescript/keyvalue/src/plugin.ts",
        "src/query.ts" from "javascript/template/typescript/keyvalue/src/query.ts",
        "src/walk.ts" from "javascript/template/typescript/keyvalue/src/walk.ts",
        "test/plugin.test.js" from "javascript/template/typescript/keyvalue/test/plugin.test.js",
    },
    sql: sources! {
        "src/plugin.ts" from "javascript/template/typescript/sql/src/plugin.ts",
        "src/query.ts" from "javascript/template/typescript/sql/src/query.ts",
        "src/schema.sql" from "template/src/schema.sql",
        "test/plugin.test.js" from "javascript/template/typescript/sql/test/plugin.test.js",
    },
    redis: sources! {
        "src/header.ts" from "javascript/template/typescript/header.ts",
        "src/keys.ts" from "javascript/template/typescript/redis/src/keys.ts",
        "src/plugin.ts" from "javascript/template/typescript/redis/src/plugin.ts",
        "src/query.ts" from "javascript/template/typescript/redis/src/query.ts",
        "test/plugin.test.js" from "javascript/template/typescript/redis/test/plugin.test.js",
    },
    http: sources! {
        "src/plugin.ts" from "javascript/template/typescript/http/src/plugin.ts",
        "test/plugin.test.js" from "javascript/template/typescript/http/test/plugin.test.js",
    },
};

const JAVASCRIPT_TEMPLATE: Template = Template {
    language: "JavaScript",
    extension: "js",
    filled: sources! {
        "package.json" from "javascript/template/javascript/package.json",
        "plugin.toml" from "javascript/template/javascript/plugin.toml",
    },
    copied: sources! {
        "jsconfig.json" from "javascript/template/javascript/jsconfig.json",
    },
    keyvalue: sources! {
        "src/header.js" from "javascript/template/javascript/header.js",
        "src/keys.js" from "javascript/template/javascript/keyvalue/src/keys.js",
        "src/plugin.js" from "javascript/template/javascript/keyvalue/src/plugin.js",
        "src/query.js" from "javascript/template/javascript/keyvalue/src/query.js",
        "src/walk.js" from "javascript/template/javascript/keyvalue/src/walk.js",
        "test/plugin.test.js" from "javascript/template/javascript/keyvalue/test/plugin.test.js",
    },
    sql: sources! {
        "src/plugin.js" from "javascript/template/javascript/sql/src/plugin.js",
        "src/query.js" from "javascript/template/javascript/sql/src/query.js",
        "src/schema.sql" from "template/src/schema.sql",
        "test/plugin.test.js" from "javascript/template/javascript/sql/test/plugin.test.js",
    },
    redis: sources! {
        "src/header.js" from "javascript/template/javascript/header.js",
        "src/keys.js" from "javascript/template/javascript/redis/src/keys.js",
        "src/plugin.js" from "javascript/template/javascript/redis/src/plugin.js",
        "src/query.js" from "javascript/template/javascript/redis/src/query.js",
        "test/plugin.test.js" from "javascript/template/javascript/redis/test/plugin.test.js",
    },
    http: sources! {
        "src/plugin.js" from "javascript/template/javascript/http/src/plugin.js",
        "test/plugin.test.js" from "javascript/template/javascript/http/test/plugin.test.js",
    },
};

/// What plugins in both languages get, with placeholders.
const TEMPLATE: &[Source] = sources! {
    ".gitignore" from "javascript/template/gitignore",
    "README.md" from "javascript/template/README.md",
};

/// What plugins in both languages get, unchanged.
const SDK: &[Source] = sources! {
    "docs/javascript.md" from "javascript/README.md",
    "docs/writing-a-plugin.md" from "writing-a-plugin.md",
    "sdk/backend.d.ts" from "javascript/backend.d.ts",
    "sdk/backend.js" from "javascript/backend.js",
    "sdk/build.js" from "javascript/build.js",
    "sdk/config.d.ts" from "javascript/config.d.ts",
    "sdk/config.js" from "javascript/config.js",
    "sdk/errors.d.ts" from "javascript/errors.d.ts",
    "sdk/errors.js" from "javascript/errors.js",
    "sdk/events.d.ts" from "javascript/events.d.ts",
    "sdk/events.js" from "javascript/events.js",
    "sdk/files.d.ts" from "javascript/files.d.ts",
    "sdk/http.d.ts" from "javascript/http.d.ts",
    "sdk/http.js" from "javascript/http.js",
    "sdk/index.d.ts" from "javascript/index.d.ts",
    "sdk/index.js" from "javascript/index.js",
    "sdk/keys.d.ts" from "javascript/keys.d.ts",
    "sdk/keys.js" from "javascript/keys.js",
    "sdk/keyvalue.d.ts" from "javascript/keyvalue.d.ts",
    "sdk/keyvalue.js" from "javascript/keyvalue.js",
    "sdk/log.d.ts" from "javascript/log.d.ts",
    "sdk/log.js" from "javascript/log.js",
    "sdk/metrics.d.ts" from "javascript/metrics.d.ts",
    "sdk/metrics.js" from "javascript/metrics.js",
    "sdk/redis.d.ts" from "javascript/redis.d.ts",
    "sdk/redis.js" from "javascript/redis.js",
    "sdk/render.d.ts" from "javascript/render.d.ts",
    "sdk/render.js" from "javascript/render.js",
    "sdk/secrets.d.ts" from "javascript/secrets.d.ts",
    "sdk/secrets.js" from "javascript/secrets.js",
    "sdk/sql.d.ts" from "javascript/sql.d.ts",
    "sdk/sql.js" from "javascript/sql.js",
    "sdk/stack.js" from "javascript/stack.js",
    "sdk/testing/batch.js" from "javascript/testing/batch.js",
    "sdk/testing/config.js" from "javascript/testing/config.js",
    "sdk/testing/hooks.js" from "javascript/testing/hooks.js",
    "sdk/testing/index.d.ts" from "javascript/testing/index.d.ts",
    "sdk/testing/index.js" from "javascript/testing/index.js",
    "sdk/testing/keyvalue.js" from "javascript/testing/keyvalue.js",
    "sdk/testing/log.js" from "javascript/testing/log.js",
    "sdk/testing/metrics.js" from "javascript/testing/metrics.js",
    "sdk/testing/package.js" from "javascript/testing/package.js",
    "sdk/testing/refused.js" from "javascript/testing/refused.js",
    "sdk/testing/render.js" from "javascript/testing/render.js",
    "sdk/testing/register.js" from "javascript/testing/register.js",
    "sdk/testing/secrets.js" from "javascript/testing/secrets.js",
    "sdk/time.d.ts" from "javascript/time.d.ts",
    "sdk/time.js" from "javascript/time.js",
    "sdk/uuid.d.ts" from "javascript/uuid.d.ts",
    "sdk/uuid.js" from "javascript/uuid.js",
};

fn files(name: &str, over: Over, template: &'static Template) -> Vec<File> {
    let (sources, rows) = template.over(over);
    let values = [
        ("{{files}}", rows),
        ("{{language}}", template.language),
        ("{{extension}}", template.extension),
        ("{{does}}", over.does()),
        ("{{configuration}}", &over.configuration(name)),
    ];
    let fill = |file: File| {
        let text = values.iter().fold(file.text, |text, (placeholder, value)| text.replace(placeholder, value));
        File { text, ..file }
    };
    let mut capabilities: Vec<_> = CAPABILITIES.into_iter().chain(over.imports().iter().copied()).collect();
    capabilities.sort_unstable();
    filled(TEMPLATE, name)
        .map(fill)
        .chain(filled(template.filled, name))
        .chain([template.copied, sources, SDK].into_iter().flat_map(copied))
        .chain(contract(&capabilities))
        .collect()
}

/// The tools, of the versions that a plugin pins.
struct Tools {
    node: PathBuf,
    /// The folder `node_modules` that they are in.
    modules: PathBuf,
}

impl Tools {
    fn find(folder: &Path) -> anyhow::Result<Self> {
        let get = "get it from https://nodejs.org, or with `apt-get install nodejs npm` on Debian 13 and Ubuntu 25.04 or newer";
        let Some(node) = tool::find("node", &[]) else {
            bail!("Node.js, which compiles plugins in TypeScript and JavaScript, is not on the PATH: {get}");
        };
        let version = tool::output(Command::new(&node).arg("--version"))?;
        let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
        ensure!(
            major.is_some_and(|major| major >= NODE),
            "{} is {}, but the tools need {NODE} or newer: {get}",
            node.display(),
            version.trim()
        );
        let package = Package::read(folder)?;
        let install = format!("install the tools with\n  npm install --prefix {}", folder.display());
        let Some(modules) = modules(folder)? else {
            bail!(
                "{COMPONENTIZE}, which compiles the plugin, is neither in {}/node_modules nor on the PATH: {install}",
                folder.display()
            );
        };
        for name in PACKAGES {
            let at = modules.join(name);
            let found = Package::read(&at)
                .ok()
                .and_then(|package| package.version)
                .with_context(|| format!("{name} is not in {}: {install}", modules.display()))?;
            if let Some(wanted) = package.pinned(name)
                && wanted != found
            {
                bail!("{} is {found}, but package.json pins {wanted}: {install}", at.display());
            }
        }
        Ok(Self { node, modules })
    }

    fn check_types(&self, folder: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(&self.node);
        command.arg(self.modules.join("typescript/bin/tsc")).args(["--pretty", "false", "--project", "."]);
        tool::run(command.current_dir(folder), &format!("the plugin in {}", folder.display()))
    }

    fn build(&self, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
        const SCRIPT: &str = "sdk/build.js";
        ensure!(
            folder.join(SCRIPT).is_file(),
            "{} is missing: copy the folder `sdk` from a new plugin",
            folder.join(SCRIPT).display()
        );
        let output = folder.join("build");
        fs::create_dir_all(&output).with_context(|| format!("can't create {}", output.display()))?;
        let mut command = Command::new(&self.node);
        command.arg(SCRIPT).arg("--modules").arg(&self.modules).arg("--output").arg(format!("build/{name}.wasm"));
        tool::run(command.current_dir(folder), &format!("the plugin in {}", folder.display()))?;
        Ok(output.join(format!("{name}.wasm")))
    }
}

/// The folder `node_modules` with the compiler: that of the plugin or of a folder above it, else that of a program on the PATH.
fn modules(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let folder = folder.canonicalize().with_context(|| format!("can't find {}", folder.display()))?;
    let above = folder.ancestors().map(|folder| folder.join("node_modules"));
    let program = tool::find("componentize-js", &[]).and_then(|program| program.canonicalize().ok());
    // A link into the package, in `node_modules/.bin` or where npm puts programs of everyone.
    let of_program =
        program.iter().flat_map(|program| program.ancestors()).filter(|folder| folder.ends_with("node_modules"));
    let has_compiler = |modules: &PathBuf| modules.join(COMPONENTIZE).is_dir();
    Ok(above.chain(of_program.map(Path::to_owned)).find(has_compiler))
}

/// What this program reads of a package.json.
#[derive(Deserialize)]
struct Package {
    version: Option<String>,
    #[serde(default)]
    dependencies: BTreeMap<String, String>,
    #[serde(default, rename = "devDependencies")]
    dev_dependencies: BTreeMap<String, String>,
}

impl Package {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("package.json");
        let text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// The exact version of a tool that the package depends on; a range pins none.
    fn pinned(&self, name: &str) -> Option<&str> {
        let version = self.dev_dependencies.get(name).or_else(|| self.dependencies.get(name))?;
        version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::kit::listed::files_in;
    use super::*;

    const TEMPLATES: [&Template; 2] = [&TYPESCRIPT_TEMPLATE, &JAVASCRIPT_TEMPLATE];

    #[test]
    fn every_file_of_the_sdk_and_of_the_templates_is_written() {
        let written = |lists: &[&[Source]]| -> BTreeSet<String> {
            lists.iter().flat_map(|list| list.iter()).map(|file| file.path.to_owned()).collect()
        };
        for template in TEMPLATES {
            let folder = format!("sdk/javascript/template/{}", template.language.to_lowercase());
            for over in OVER {
                // These are not in the folder of this capability.
                let shared = ["src/schema.sql".to_owned(), format!("src/header.{}", template.extension)];
                let mut listed = written(&[template.over(*over).0]);
                listed.retain(|path| !shared.contains(path));
                let capability = format!("{over:?}").to_lowercase();
                assert_eq!(listed, files_in(&format!("{folder}/{capability}")), "the lists in {}", file!());
            }
            let mut others = files_in(&folder);
            others.retain(|path| !path.contains('/') && !path.starts_with("header."));
            assert_eq!(written(&[template.filled, template.copied]), others, "the lists in {}", file!());
        }
        // Its own tests, its README and the templates are not part of a plugin.
        let apart = |file: &String| {
            !["test/", "template/", "README.md", "package.json"].iter().any(|start| file.starts_with(start))
        };
        let sdk: BTreeSet<_> =
            files_in("sdk/javascript").into_iter().filter(apart).map(|file| format!("sdk/{file}")).collect();
        let listed: BTreeSet<_> = written(&[SDK]).into_iter().filter(|path| path.starts_with("sdk/")).collect();
        assert_eq!(listed, sdk, "the list in {}", file!());
    }

    #[test]
    fn the_example_is_what_plugin_new_writes() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/keyvalue-typescript");
        for file in files("keyvalue-typescript", Over::Keyvalue, &TYPESCRIPT_TEMPLATE) {
            if !file.path.starts_with("docs/") {
                let text = fs::read_to_string(example.join(&file.path))
                    .unwrap_or_else(|error| panic!("{}: {error}", file.path));
                assert_eq!(text, file.text, "{}", file.path);
            }
        }
    }

    #[test]
    fn a_readme_has_no_placeholder_left_and_names_its_files() {
        for (template, over) in
            TEMPLATES.into_iter().flat_map(|template| OVER.iter().map(move |over| (template, *over)))
        {
            let files = files("ledger", over, template);
            let readme = &files.iter().find(|file| file.path == "README.md").unwrap().text;
            assert!(!readme.contains("{{"), "{readme}");
            for path in readme.split('`').filter(|word| word.starts_with("src/")) {
                assert!(files.iter().any(|file| file.path == path), "{path} of {over:?}: {readme}");
            }
        }
    }

    #[test]
    fn only_an_exact_version_is_pinned() {
        let package: Package = serde_json::from_str(
            r#"{"dependencies": {"rolldown": "1.3.3", "typescript": "^7.0.0"}, "devDependencies": {"rolldown": "1.3.4"}}"#,
        )
        .unwrap();
        assert_eq!(package.pinned("rolldown"), Some("1.3.4"));
        assert_eq!(package.pinned("typescript"), None);
        assert_eq!(package.pinned("jco"), None);
    }

    #[test]
    fn both_templates_pin_every_tool() {
        for template in TEMPLATES {
            let text = template.filled.iter().find(|file| file.path == "package.json").unwrap().text;
            let package: Package = serde_json::from_str(text).unwrap();
            assert!(PACKAGES.iter().all(|name| package.pinned(name).is_some()), "{text}");
        }
    }
}
