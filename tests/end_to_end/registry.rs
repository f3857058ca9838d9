//! Plugins in a real OCI registry: published, installed, locked, signed, and checked by the host.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reflow_tracing_tests::servers::{Authority, Registry};
use reflow_tracing_tests::{Backend, Host, Setting, plugin, test_plugin};

/// A folder without plugins, whose configuration names the plugin `relational`; `more` is of `[plugins]`.
fn operator(more: &str) -> Setting {
    let setting = Setting::new(Backend::Sqlite);
    fs::remove_dir_all(setting.path().join("plugins")).expect("it is ours");
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nbackend = \"relational\"\n[plugins]\n{more}\n[plugins.relational]\n\
         grants = {{ sql = {{ default = \"sqlite:relational.db\" }} }}\n"
    ));
    setting
}

fn text(file: &Path) -> &str {
    file.to_str().expect("a path of ours")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Publishes a plugin, and returns the digest of its manifest.
fn publish(setting: &Setting, file: &Path, url: &str, more: &[&str]) -> String {
    let said = setting.stdout(&[&["plugin", "publish", text(file), url], more].concat());
    let digest = said.split_once('@').unwrap_or_else(|| panic!("no digest in {said}")).1;
    digest.trim().split(',').next().expect("it has a part").to_owned()
}

fn lock(setting: &Setting) -> String {
    fs::read_to_string(setting.path().join("plugins/plugins.lock")).expect("a lock")
}

#[test]
fn a_published_plugin_is_installed_locked_and_run() {
    let registry = Registry::start();
    let url = format!("oci://127.0.0.1:{}/acme/relational:1.0", registry.port);
    let setting = operator("");
    let missing = setting.failure(&["plugin", "install", &url]);
    assert!(missing.contains("the registry has no such component"), "{missing}");
    assert!(!setting.path().join("plugins").exists(), "nothing was changed");

    let digest = publish(&setting, &plugin("relational"), &url, &[]);
    let again = setting.stdout(&["plugin", "publish", text(&plugin("relational")), &url]);
    assert!(again.contains("was published already") && again.contains(&digest), "{again}");
    let installed = setting.stdout(&["plugin", "install", &url]);
    assert!(installed.contains("installed plugins/relational.wasm") && installed.contains(&digest), "{installed}");
    let file = setting.path().join("plugins/relational.wasm");
    assert_eq!(fs::read(&file).expect("it is there"), fs::read(plugin("relational")).expect("it is there"));
    assert!(lock(&setting).contains(&digest) && lock(&setting).contains(&url), "{}", lock(&setting));
    let host = Host::start(&setting);
    assert_eq!(host.get("/health").0, 200);
    host.stop();

    // By its digest, under another name.
    let pinned = format!("{url}@{digest}");
    setting.stdout(&["plugin", "install", &pinned, "--name", "ledger"]);
    assert!(setting.path().join("plugins/ledger.wasm").exists());

    // A file that was changed is not loaded, and the error restores it.
    fs::copy(test_plugin("hostile"), &file).expect("a copy of the plugin");
    let refused = setting.failure(&["serve"]);
    let restores = format!("reflow-tracing plugin install {pinned}");
    assert!(refused.contains("plugins.lock") && refused.contains(&restores), "{refused}");
    assert!(setting.stdout(&["plugin", "list"]).contains("differs from"), "the list says so");
    setting.stdout(&["plugin", "install", &pinned]);
    Host::start(&setting).stop();

    // Several at once: none loses the entry of another.
    let names = ["one", "two", "three", "four"];
    let installing = names.map(|name| {
        let mut install = setting.command(&["plugin", "install", &pinned, "--name", name]);
        install.stdout(Stdio::null()).spawn().expect("the program starts")
    });
    for mut install in installing {
        assert!(install.wait().expect("it ends").success());
    }
    for name in names {
        assert!(lock(&setting).contains(&format!("[plugin.{name}]")), "{}", lock(&setting));
    }
}

#[test]
fn a_tag_that_moved_is_refused_until_an_update() {
    let registry = Registry::start();
    let url = format!("oci://127.0.0.1:{}/relational:1.0", registry.port);
    let setting = operator("");
    let first = publish(&setting, &plugin("relational"), &url, &[]);
    setting.stdout(&["plugin", "install", &url]);
    let refused = setting.failure(&["plugin", "publish", text(&test_plugin("hostile")), &url]);
    assert!(refused.contains("--move-tag") && refused.contains(&first), "{refused}");
    let second = publish(&setting, &test_plugin("hostile"), &url, &["--move-tag"]);

    let before = (lock(&setting), fs::read(setting.path().join("plugins/relational.wasm")).expect("it is there"));
    let refused = setting.failure(&["plugin", "install", &url]);
    for part in ["was moved", &first, &second, "--update"] {
        assert!(refused.contains(part), "{part:?} is missing in: {refused}");
    }
    let other = publish(&setting, &test_plugin("probe"), &url.replace("1.0", "2.0"), &[]);
    let refused = setting.failure(&["plugin", "install", &url.replace("1.0", "2.0")]);
    assert!(refused.contains(&other) && refused.contains("--name"), "{refused}");
    let after = (lock(&setting), fs::read(setting.path().join("plugins/relational.wasm")).expect("it is there"));
    assert!(before == after, "nothing was changed");

    setting.stdout(&["plugin", "install", &url, "--update"]);
    assert!(lock(&setting).contains(&second) && !lock(&setting).contains(&first), "{}", lock(&setting));
}

#[test]
fn a_registry_with_users_takes_the_password_of_the_environment_or_of_docker() {
    let registry = Registry::start_with_users();
    let url = format!("oci://127.0.0.1:{}/relational:1.0", registry.port);
    let setting = operator("");
    let file = plugin("relational");
    let refused = setting.failure(&["plugin", "publish", text(&file), &url]);
    assert!(refused.contains("docker login") && refused.contains("REFLOW_TRACING_REGISTRY_PASSWORD"), "{refused}");

    let [name, password] = Registry::USER;
    let mut publish = setting.command(&["plugin", "publish", text(&file), &url]);
    publish.env("REFLOW_TRACING_REGISTRY_USERNAME", name).env("REFLOW_TRACING_REGISTRY_PASSWORD", password);
    let published = publish.output().expect("the program starts");
    assert!(published.status.success(), "{}", said(&published));
    // A host in the same environment starts: the variables are not an error.
    let mut wrong = setting.command(&["plugin", "install", &url]);
    wrong.env("REFLOW_TRACING_REGISTRY_USERNAME", name).env("REFLOW_TRACING_REGISTRY_PASSWORD", "wrong");
    let wrong = wrong.output().expect("the program starts");
    assert!(!wrong.status.success() && said(&wrong).contains("401"), "{}", said(&wrong));
    assert!(!said(&wrong).contains("wrong\""), "the password is not printed: {}", said(&wrong));

    // `docker login` writes NAME:PASSWORD in base64.
    let auth = "YW5uOmEgc2VjcmV0";
    let docker = format!("{{\"auths\": {{\"127.0.0.1:{}\": {{\"auth\": \"{auth}\"}}}}}}", registry.port);
    fs::write(setting.path().join("config.json"), docker).expect("a file of our own");
    let mut install = setting.command(&["plugin", "install", &url]);
    let installed = install.env("DOCKER_CONFIG", setting.path()).output().expect("the program starts");
    assert!(installed.status.success(), "{}", said(&installed));
}

#[test]
fn other_machines_are_reached_over_tls_unless_that_is_waived() {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let name = name.trim();
    let authority = Authority::new();
    let registry = Registry::start_with_tls(&authority.issue(&format!("DNS:{name}")));
    let url = format!("oci://{name}:{}/relational:1.0", registry.port);
    let setting = operator("");
    let file = plugin("relational");
    let untrusted = setting.failure(&["plugin", "publish", text(&file), &url]);
    assert!(untrusted.contains("no TLS with"), "{untrusted}");
    let plain = setting.failure(&["plugin", "publish", text(&file), &url, "--insecure"]);
    assert!(plain.contains("400"), "the server speaks TLS only: {plain}");
    for command in [&["plugin", "publish", text(&file), &url][..], &["plugin", "install", &url]] {
        let output = setting.command(command).env("SSL_CERT_FILE", authority.certificate()).output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{command:?}: {}", said(&output));
    }
}

#[test]
fn only_plugins_that_a_trusted_key_signed_are_installed_and_loaded_where_that_is_required() {
    let registry = Registry::start();
    let url = format!("oci://127.0.0.1:{}/relational", registry.port);
    let author = Setting::new(Backend::Sqlite);
    let file = author.path().join("plugins/relational.wasm");
    for name in ["author.key", "stranger.key"] {
        let mut new = Command::new("openssl");
        new.args(["genpkey", "-algorithm", "ed25519", "-out", name]).current_dir(author.path());
        assert!(new.output().expect("openssl is installed").status.success());
    }
    let sign = |key: &str| {
        let said = author.stdout(&["plugin", "sign", text(&file), "--key", key]);
        said.split('"').nth(1).unwrap_or_else(|| panic!("no key in {said}")).to_owned()
    };
    publish(&author, &file, &format!("{url}:unsigned"), &[]);
    sign("stranger.key");
    publish(&author, &file, &format!("{url}:stranger"), &[]);
    fs::remove_file(author.path().join("plugins/relational.wasm.sig")).expect("it was signed");
    let key = sign("author.key");
    publish(&author, &file, &format!("{url}:signed"), &[]);
    // Signatures of another content are not published.
    fs::copy(plugin("redis"), author.path().join("plugins/other.wasm")).expect("a copy of the plugin");
    fs::copy(author.path().join("plugins/relational.wasm.sig"), author.path().join("plugins/other.wasm.sig"))
        .expect("a copy");
    let refused = author.failure(&["plugin", "publish", "plugins/other.wasm", &format!("{url}:other")]);
    assert!(refused.contains("other.wasm.sig") && refused.contains("sign the file again"), "{refused}");

    let setting = operator(&format!("require_signed = true\ntrusted_keys = [\"{key}\"]"));
    for (tag, part) in [("unsigned", "it is not signed"), ("stranger", "which `trusted_keys`")] {
        let refused = setting.failure(&["plugin", "install", &format!("{url}:{tag}")]);
        assert!(refused.contains(part) && refused.contains("nothing was installed"), "{refused}");
        assert!(!setting.path().join("plugins").exists(), "nothing was changed");
    }
    setting.stdout(&["plugin", "install", &format!("{url}:signed")]);
    Host::start(&setting).stop();
    let signatures = setting.path().join("plugins/relational.wasm.sig");
    let kept = fs::read(&signatures).expect("it was installed");
    fs::remove_file(&signatures).expect("it is ours");
    let refused = setting.failure(&["serve"]);
    assert!(refused.contains("it is not signed") && refused.contains("require_signed"), "{refused}");
    // A file that was put there by hand is refused too.
    fs::write(&signatures, kept).expect("a file of our own");
    fs::remove_file(setting.path().join("plugins/plugins.lock")).expect("it is ours");
    fs::copy(test_plugin("hostile"), setting.path().join("plugins/relational.wasm")).expect("a copy of the plugin");
    let refused = setting.failure(&["serve"]);
    assert!(refused.contains("changed after it was signed"), "{refused}");

    let keyless = operator("require_signed = true").failure(&["serve"]);
    assert!(keyless.contains("trusted_keys") && keyless.contains("line"), "{keyless}");
}

/// Runs wkg, the package manager of the Bytecode Alliance, against a registry of ours.
fn wkg(setting: &Setting, registry: &Registry, arguments: &[&str]) -> String {
    let name = format!("127.0.0.1:{}", registry.port);
    let config = format!(
        "[namespace_registries]\nreflow = {{ registry = \"{name}\", metadata = {{ preferredProtocol = \"oci\", \
         oci = {{ registry = \"{name}\", namespacePrefix = \"wit/\" }} }} }}\n[registry.\"{name}\".oci]\nprotocol = \"http\"\n"
    );
    let [config_file, cache] = ["wkg.toml", "wkg-cache"].map(|name| setting.path().join(name));
    fs::write(&config_file, config).expect("a file of our own");
    let mut command = Command::new("wkg");
    command.args(arguments).current_dir(setting.path()).env("WKG_OCI_INSECURE", &name);
    command.env("WKG_CONFIG_FILE", &config_file).env("WKG_CACHE_DIR", &cache);
    let output = command.output().expect("wkg is on the PATH: cargo install wkg --version 0.16.1 --locked");
    let said = said(&output);
    assert!(output.status.success(), "wkg {arguments:?}: {said}");
    said
}

#[test]
#[ignore = "needs wkg, which takes minutes to build; `cargo xtask soak` installs and runs it"]
fn wkg_reads_what_publish_wrote_and_install_reads_what_wkg_wrote() {
    let registry = Registry::start();
    let setting = operator("");
    let name = format!("127.0.0.1:{}/acme/relational:1.0", registry.port);
    publish(&setting, &plugin("relational"), &format!("oci://{name}"), &[]);
    wkg(&setting, &registry, &["oci", "pull", &name, "-o", "pulled.wasm"]);
    let pulled = fs::read(setting.path().join("pulled.wasm")).expect("it is there");
    assert_eq!(pulled, fs::read(plugin("relational")).expect("it is there"));

    let name = format!("127.0.0.1:{}/acme/redis:1.0", registry.port);
    wkg(&setting, &registry, &["oci", "push", &name, text(&plugin("redis"))]);
    setting.stdout(&["plugin", "install", &format!("oci://{name}")]);
    let installed = fs::read(setting.path().join("plugins/redis.wasm")).expect("it is there");
    assert_eq!(installed, fs::read(plugin("redis")).expect("it is there"));
}

#[test]
#[ignore = "needs wkg, which takes minutes to build; `cargo xtask soak` installs and runs it"]
fn wkg_builds_and_publishes_the_contract() {
    let registry = Registry::start();
    let setting = operator("");
    let wit = reflow_tracing_tests::root().join("wit");
    let copied = |from: &Path, to: &str| {
        fs::create_dir_all(setting.path().join(to)).expect("a folder of our own");
        for entry in fs::read_dir(from).expect("a folder of the contract") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "wit") {
                let name = path.file_name().expect("a file has a name");
                fs::copy(&path, setting.path().join(to).join(name)).expect("a copy of the contract");
            }
        }
    };
    copied(&wit.join("deps/storage"), "storage");
    copied(&wit, "capabilities");
    for name in ["storage", "capabilities"] {
        let file = format!("{name}.wasm");
        // The second refers to the first, which wkg takes from the registry.
        wkg(&setting, &registry, &["build", "--wit-dir", name, "-o", &file]);
        let published = wkg(&setting, &registry, &["publish", &file]);
        assert!(published.contains(&format!("Published reflow:{name}@0.1.1")), "{published}");
    }
}
