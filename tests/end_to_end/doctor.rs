//! `reflow-tracing doctor`, on the settings of real servers.

use std::process::Output;

use reflow_tracing_tests::servers::Postgres;
use reflow_tracing_tests::{Backend, Host, Setting};

/// A folder whose configuration names the database at this URL.
fn setting(url: &str) -> Setting {
    let setting = Setting::new(Backend::Sqlite);
    setting.write(&format!("[storage]\nbackend = \"postgres\"\n[storage.postgres]\nconnection_url = \"{url}\"\n"));
    setting
}

/// What the doctor prints. Panics unless it exits with `code`.
#[track_caller]
fn printed(output: Output, code: i32) -> String {
    let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    if code == 1 { errors.into_owned() } else { text }
}

#[test]
fn the_printed_statements_leave_nothing_to_change() {
    let server = Postgres::as_it_comes();
    let setting = setting(&server.url("postgres"));
    let doctor = || setting.run(&["doctor", "--memory", "1GB"]);

    let lines = printed(doctor(), 3);
    for part in [
        "1.0 GB of memory: as given by `--memory`",
        "ALTER SYSTEM SET shared_buffers = '256MB';",
        "is 128MB; takes effect when the server restarts",
        "ALTER SYSTEM SET effective_cache_size = '768MB';",
        "is 4GB; takes effect immediately",
        "SELECT pg_reload_conf();",
    ] {
        assert!(lines.contains(part), "{part:?} is missing in:\n{lines}");
    }
    // A setting that is right is not printed.
    assert!(!lines.contains("default_statistics_target") && !lines.contains("fsync"), "{lines}");

    let file = setting.path().join("lines.sql");
    std::fs::write(&file, &lines).expect("a file of our own");
    server.run(&file);
    // A new session may see the old settings for a moment.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let waiting = loop {
        let waiting = printed(doctor(), 3);
        if waiting.contains("shared_buffers is 128MB") || patience < std::time::Instant::now() {
            break waiting;
        }
    };
    assert!(waiting.contains("restart the server to apply it"), "{waiting}");
    assert!(!waiting.contains("ALTER SYSTEM") && !waiting.contains("effective_cache_size"), "{waiting}");

    server.stop();
    server.launch();
    let well = printed(doctor(), 0);
    assert!(well.contains("no setting needs a change"), "{well}");
}

#[test]
fn settings_that_alter_system_cannot_change_are_marked() {
    let server = Postgres::start();
    server.query("ALTER ROLE postgres SET default_statistics_target = 10");
    let setting = setting(&server.url("postgres"));
    let lines = printed(setting.run(&["doctor"]), 3);
    // The memory of this machine.
    assert!(lines.contains("this machine's") && lines.contains("--memory"), "{lines}");
    for part in [
        "-- fsync is off, better: on; set on the server's command line",
        "-- synchronous_commit is off",
        "-- default_statistics_target is 10, better: 100; set by ALTER ROLE or ALTER DATABASE",
    ] {
        assert!(lines.contains(part), "{part:?} is missing in:\n{lines}");
    }
    assert!(!lines.contains("ALTER SYSTEM SET fsync"), "{lines}");
}

#[test]
fn the_memory_of_another_machine_must_be_given() {
    let server = Postgres::on_port(None);
    // With this address, the two ends have different addresses, as between machines.
    let setting = setting(&format!("postgresql://postgres:hidden@127.0.0.2:{}/postgres", server.port()));
    let error = printed(setting.run(&["doctor"]), 1);
    assert!(error.contains("127.0.0.2") && error.contains("`--memory 16GB`"), "{error}");
    assert!(!error.contains("hidden"), "{error}");
    let lines = printed(setting.run(&["doctor", "--memory", "512MB"]), 3);
    assert!(lines.contains("0.5 GB") && !lines.contains("hidden"), "{lines}");
    printed(setting.run(&["doctor", "--memory", "lots"]), 2);
}

#[test]
fn a_backend_without_a_server_has_nothing_to_check() {
    let setting = Setting::new(Backend::Sqlite);
    let text = printed(setting.run(&["doctor"]), 0);
    assert!(text.contains("`sqlite`"), "{text}");
}

#[test]
fn an_unreachable_server_is_an_error() {
    let setting = setting("postgresql://postgres@127.0.0.1:1/postgres");
    let error = printed(setting.run(&["doctor"]), 1);
    assert!(error.contains("127.0.0.1:1") && error.contains("is the server running"), "{error}");
}

#[test]
fn a_grant_of_a_superuser_is_a_warning_at_start_and_of_the_doctor() {
    let server = Postgres::shared();
    let setting = Setting::new(Backend::Relational);
    setting.write(&format!(
        "[server]\nport = 0\n[storage]\nbackend = \"relational\"\n[plugins.relational]\ngrants = {{ sql = {{ default = \"{}\" }} }}\n",
        server.database()
    ));
    let text = printed(setting.run(&["doctor"]), 3);
    let warning = "plugins.relational.grants.sql.default: the user is a superuser";
    assert!(text.contains(&format!("-- warning: {warning}")), "{text}");
    let host = Host::start(&setting);
    let log = host.log();
    host.stop();
    assert!(log.contains(warning), "{log}");
}
