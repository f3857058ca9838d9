use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::report::{Format, configured_name, example_grants, name_of, size, summary, write_estimate, write_problems};
use crate::cli::output;
use crate::config::{Config, Loaded, PluginsConfig};
use reflow_tracing::plugin::{Explanation, Grants, Limits, PluginConfig, PluginRuntime, PluginRuntimeConfig, explain};

/// Explain a plugin file: what it may use and why, its limits, its optional exports, and what it costs to compile
///
/// The plugin is compiled, without the cache, but not run.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The component, or a core module with an embedded world
    file: PathBuf,
    /// The configuration whose grants and limits are explained
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// Compile nothing, so that the time of that stays unknown
    #[arg(long)]
    no_compile: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Everything that is printed. This is also the JSON.
#[derive(Serialize)]
struct Report {
    name: String,
    #[serde(flatten)]
    explanation: Explanation,
    grants: Vec<Grant>,
    always_granted: Vec<String>,
    /// Those of the configuration, or the defaults.
    limits: Limits,
    /// The time to compile it, if it was compiled.
    compile_seconds: Option<f64>,
}

/// A capability that needs a grant.
#[derive(Serialize)]
struct Grant {
    capability: String,
    meaning: &'static str,
    /// The functions that it imports.
    calls: BTreeMap<String, Vec<String>>,
    /// The labels that the configuration grants; `None` without a configuration.
    granted: Option<Vec<String>>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let explanation = explain(&args.file)?;
    let configured = args.config.as_deref().map(|file| Config::load(Some(file))).transpose()?;
    let (name, plugin, plugins) = match configured {
        None => (name_of(&args.file), None, PluginsConfig::default()),
        Some(Loaded { config, .. }) => {
            let name = configured_name(&config, &args.file);
            let plugin = config.plugins.named.get(&name).cloned().unwrap_or_default();
            (name, Some(plugin), config.plugins)
        }
    };
    let compile_seconds = match args.no_compile || !explanation.inspection.problems.is_empty() {
        true => None,
        false => Some(compile(&name, &args.file, plugin.as_ref(), &plugins).await?),
    };
    let report = Report::new(name, explanation, plugin, compile_seconds);
    match args.format {
        Format::Text => output::print(|out| report.write(out))?,
        Format::Json => output::print_json(|out| {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)
        })?,
    }
    Ok(())
}

/// The seconds that the file takes to compile, without a cache.
async fn compile(
    name: &str,
    file: &Path,
    plugin: Option<&PluginConfig>,
    plugins: &PluginsConfig,
) -> anyhow::Result<f64> {
    let limits = plugin.map(|plugin| plugin.limits.clone()).unwrap_or_default();
    let start = Instant::now();
    let config = PluginConfig { limits, ..PluginConfig::default() };
    let runtime = PluginRuntimeConfig { cache_dir: None, ..plugins.runtime() };
    PluginRuntime::new(&runtime)?.compile(name, file, &config).await?;
    Ok(start.elapsed().as_secs_f64())
}

impl Report {
    fn new(name: String, explanation: Explanation, plugin: Option<PluginConfig>, compile_seconds: Option<f64>) -> Self {
        let owned = |labels: Vec<&str>| labels.into_iter().map(str::to_owned).collect();
        let granted = |grants: &Grants, capability: &str| owned(grants.labels(capability));
        let inspection = &explanation.inspection;
        let grants = inspection.may_use().map(|capability| Grant {
            capability: capability.to_owned(),
            meaning: meaning(capability),
            calls: calls_of(&explanation, capability),
            granted: plugin.as_ref().map(|plugin| granted(&plugin.grants, capability)),
        });
        let (grants, always_granted) = (grants.collect(), owned(inspection.always_granted().collect()));
        let limits = plugin.map(|plugin| plugin.limits).unwrap_or_default();
        Self { name, grants, always_granted, limits, compile_seconds, explanation }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Explanation { inspection, calls, optional_exports } = &self.explanation;
        writeln!(out, "{}", summary(inspection))?;
        write_problems(out, inspection)?;

        writeln!(out, "\nneeds a grant:")?;
        if self.grants.is_empty() {
            writeln!(out, "  nothing: it imports no capability that reaches beyond the host")?;
        }
        for Grant { capability, meaning, calls, granted } in &self.grants {
            let state = match granted.as_deref() {
                None => String::new(),
                Some([]) => "; not granted: a call fails".into(),
                Some(labels) => format!("; granted: {}", labels.join(", ")),
            };
            writeln!(out, "  {capability}: {meaning}{state}")?;
            for (interface, functions) in calls {
                writeln!(out, "    because it imports {interface}: {}", functions.join(", "))?;
            }
        }
        let missing: Vec<_> =
            self.grants.iter().filter(|grant| grant.granted.as_ref().is_none_or(Vec::is_empty)).collect();
        if !missing.is_empty() {
            let missing: Vec<_> = missing.iter().map(|grant| grant.capability.as_str()).collect();
            writeln!(out, "  for example:\n    [plugins.{}]\n    {}", self.name, example_grants(&missing, &self.name))?;
        }

        writeln!(out, "\nneeds no grant:")?;
        let is_of_grant = |interface: &str| self.grants.iter().any(|grant| grant.calls.contains_key(interface));
        for (interface, functions) in calls.iter().filter(|(interface, _)| !is_of_grant(interface)) {
            let note = if is_empty_here(interface) { " (nothing is behind it here)" } else { "" };
            writeln!(out, "  {interface}{note}: {}", functions.join(", "))?;
        }

        writeln!(out, "\noptional exports:")?;
        for (interface, exported) in optional_exports {
            let (answer, effect) =
                if *exported { ("yes", with_export(interface)) } else { ("no", without_export(interface)) };
            writeln!(out, "  {interface}: {answer}; {effect}")?;
        }

        writeln!(out, "\nlimits, in `limits` of [plugins.{}]:", self.name)?;
        let values = |limits: &Limits| serde_json::to_value(limits).ok().and_then(|value| value.as_object().cloned());
        let (limits, defaults) =
            (values(&self.limits).unwrap_or_default(), values(&Limits::default()).unwrap_or_default());
        for (limit, value) in &limits {
            let default = defaults.get(limit).filter(|default| *default != value);
            let note = default.map_or_else(String::new, |default| format!(" (the default is {default})"));
            writeln!(out, "  {limit:<16} {value}{note}")?;
        }

        writeln!(out, "\ncompilation:")?;
        let code = &inspection.code;
        writeln!(
            out,
            "  {} functions in {} modules, {} of code, {} of initial data",
            code.functions,
            code.modules,
            size(code.function_bytes),
            size(code.data_bytes)
        )?;
        write!(out, "  ")?;
        write_estimate(out, code)?;
        match self.compile_seconds {
            Some(seconds) => writeln!(out, "  {seconds:.2} s on this machine; later starts use the cache"),
            None => writeln!(out, "  not compiled"),
        }
    }
}

/// What a capability lets a plugin do.
fn meaning(capability: &str) -> &'static str {
    match capability {
        "sql" => "statements in the granted databases, with the rights of their users",
        "redis" => "commands for the granted Redis servers, on keys with the granted prefix",
        "keyvalue" => "the granted buckets of keys and values",
        "http" => "requests to the granted origins",
        "secrets" => "the granted secrets, in plain text",
        _ => "what the contract says",
    }
}

/// The imported functions that need this capability.
fn calls_of(explanation: &Explanation, capability: &str) -> BTreeMap<String, Vec<String>> {
    let is_of = |interface: &str| match capability {
        "http" => interface.starts_with("wasi:http/outgoing-handler@"),
        _ => interface.starts_with(&format!("reflow:capabilities/{capability}@")),
    };
    let calls = explanation.calls.iter().filter(|(interface, _)| is_of(interface));
    calls.map(|(interface, functions)| (interface.clone(), functions.clone())).collect()
}

/// Whether an interface of WASI leads to nothing in this host: a plugin gets neither files nor sockets, variables or arguments.
fn is_empty_here(interface: &str) -> bool {
    ["wasi:filesystem/", "wasi:sockets/", "wasi:cli/environment", "wasi:cli/stdin", "wasi:cli/terminal"]
        .iter()
        .any(|empty| interface.starts_with(empty))
}

fn with_export(interface: &str) -> &'static str {
    match interface {
        "reflow:storage/maintenance" => "the host calls it from time to time",
        "reflow:storage/expiry" => "retention by age asks the plugin to delete",
        _ => "the host uses it",
    }
}

fn without_export(interface: &str) -> &'static str {
    match interface {
        "reflow:storage/maintenance" => "the host never asks it to tidy up",
        "reflow:storage/expiry" => "retention by age deletes trace by trace",
        _ => "the host does without",
    }
}
