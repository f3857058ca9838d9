use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::report::{name_of, size};
use crate::cli::config_file::ConfigFile;
use crate::cli::printable::printable;
use crate::cli::{output, table};
use crate::config::{Config, check_signed};
use crate::trust::{LOCK_FILE, Lock};
use reflow_tracing::plugin::{PluginErrors, PluginReport, inspect};

/// The time that a host has to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// List the plugins in the plugins folder and in the configuration, and the activity of the one in a running host
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let files = files(&config)?;
    if files.is_empty() {
        let folder = config.plugins.dir.display();
        return Ok(output::print(|out| {
            writeln!(
                out,
                "no plugins: the folder {folder} holds no .wasm file, and the configuration has no [plugins.NAME] table"
            )
        })?);
    }
    let mut table = table::new_table(["NAME", "FILE", "SIZE", "SHA256", "CONTRACT", "CAPABILITIES", "STATE"]);
    for (name, file) in &files {
        table.add_row(row(&config, name, file));
    }
    let text = table.trim_fmt();
    output::print(|out| writeln!(out, "{text}"))?;
    let address = config.server.address();
    let Ok(Ok(active)) = tokio::time::timeout(TIMEOUT, active_plugins(&address)).await else {
        output::print(|out| writeln!(out, "\nno host answers at {address}: the active plugins are unknown"))?;
        return Ok(());
    };
    if !active.is_empty() {
        let text = figures(&active);
        output::print(|out| writeln!(out, "\nactive in the host at {address}:\n{text}"))?;
    }
    Ok(())
}

/// The plugins that are active in the host at `address`.
async fn active_plugins(address: &str) -> anyhow::Result<Vec<PluginReport>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/api/v1/plugins").header(header::HOST, address).body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == StatusCode::OK, "the answer has the status {}", answer.status());
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("can't read the answer: {error}"))?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    };
    // The answer arrives only while the connection is polled.
    tokio::select! {
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}

fn figures(plugins: &[PluginReport]) -> String {
    let columns =
        ["NAME", "CALLS", "ERRORS", "TRAPS", "RESTARTS", "BUSY", "IDLE", "MEMORY", "P50", "P99", "CODE", "HEALTH"];
    let mut table = table::new_table(columns);
    for plugin in plugins {
        let PluginErrors { trapped, timed_out, busy, refused, paused } = plugin.errors;
        table.add_row([
            printable(&plugin.name).into_owned(),
            plugin.all.calls.to_string(),
            (trapped + timed_out + busy + refused + paused).to_string(),
            trapped.to_string(),
            plugin.restarts.to_string(),
            plugin.instances_busy.to_string(),
            plugin.instances_idle.to_string(),
            size(plugin.memory_bytes as u64),
            format!("{:.3} ms", plugin.all.p50 * 1e3),
            format!("{:.3} ms", plugin.all.p99 * 1e3),
            if plugin.compiled_code_from_cache { "cached" } else { "compiled" }.into(),
            printable(&plugin.health).into_owned(),
        ]);
    }
    table.trim_fmt()
}

/// The file of each plugin, whether or not it exists.
fn files(config: &Config) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let folder = &config.plugins.dir;
    let mut files = BTreeMap::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.with_context(|| format!("can't read the folder {}", folder.display()))?.path();
                if path.extension().is_some_and(|extension| extension == "wasm") {
                    files.insert(name_of(&path), path);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("can't read the folder {}", folder.display())),
    }
    // A table takes precedence over a file in the folder, as for the host.
    for (name, plugin) in &config.plugins.named {
        let file = plugin.file.clone().unwrap_or_else(|| folder.join(format!("{name}.wasm")));
        files.insert(name.clone(), file);
    }
    Ok(files)
}

fn row(config: &Config, name: &str, file: &Path) -> [String; 7] {
    let table = config.plugins.named.get(name);
    let mut states = Vec::new();
    if config.storage.backend.name() == name {
        states.push("the configured backend".to_owned());
    }
    if table.is_none() {
        states.push(format!("no table [plugins.{name}]"));
    }
    let mut row = [name, &file.display().to_string(), "-", "-", "-", "-"].map(str::to_owned);
    if !file.exists() {
        states.push("no such file".into());
    } else {
        match inspect(file) {
            Ok(inspection) => {
                row[2] = size(inspection.bytes);
                row[3] = inspection.sha256.chars().take(12).collect();
                row[4] = inspection.contract.clone().unwrap_or_else(|| "-".into());
                row[5] = inspection.capabilities.join(", ");
                if let Some(table) = table
                    && inspection.may_use().count() > 0
                    && inspection.may_use().count() == inspection.not_granted(&table.grants).len()
                {
                    states.push("nothing that it may use is granted".into());
                }
                let folder = &config.plugins.dir;
                if Lock::read(folder).and_then(|lock| lock.check(folder, name, &inspection.sha256)).is_err() {
                    states.push(format!("differs from {LOCK_FILE}"));
                }
                if config.plugins.require_signed
                    && let Err(problem) = check_signed(file, &inspection.sha256, &config.plugins.trusted_keys)
                {
                    states.push(problem);
                }
                if !inspection.problems.is_empty() {
                    states.push(format!(
                        "does not work with this host, see reflow-tracing plugin check {}",
                        file.display()
                    ));
                }
            }
            Err(error) => states.push(error.problem.what),
        }
    }
    let [name, file, size, sha256, contract, capabilities] = row;
    let state = if states.is_empty() { "ok".into() } else { states.join("; ") };
    [name, file, size, sha256, contract, capabilities, state].map(|cell| printable(&cell).into_owned())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Json, Router};
    use tokio::net::TcpListener;

    use super::*;

    /// The address of a host with this router, which runs until the test ends.
    async fn host(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    #[tokio::test]
    async fn the_active_plugins_of_a_host_are_read() {
        let report = PluginReport { name: "ledger".into(), restarts: 3, ..PluginReport::default() };
        let plugins = move || async move { Json([report]) };
        let address = host(Router::new().route("/api/v1/plugins", get(plugins))).await;
        let active = active_plugins(&address).await.unwrap();
        assert_eq!((active[0].name.as_str(), active[0].restarts), ("ledger", 3));
    }

    #[tokio::test]
    async fn another_server_at_the_address_is_an_error() {
        let error = active_plugins(&host(Router::new()).await).await.unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
        let large = Router::new().route("/api/v1/plugins", get(|| async { vec![b' '; MAX_ANSWER_BYTES + 1] }));
        let error = active_plugins(&host(large).await).await.unwrap_err();
        assert!(error.to_string().contains("can't read the answer"), "{error}");
    }
}
