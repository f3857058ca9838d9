//! A large file of the first version, whose migration is killed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use reflow_tracing_tests::{Backend, Host, Setting, root, soak};
use rusqlite::Connection;

const EVENTS: u32 = 1_000_000;

/// The columns of events in version 1 that are the same in each row here.
const SAME: &str = "kind, actor, to_actor, to_port, port, error, message_type, message_size, message_checksum, message_data, \
     state_kind, state_before, state_after, execution_time_ns, memory_usage_bytes, cpu_usage_percent, queue_depth, \
     throughput, attributes, parent_event_id, root_event_id, dependency_chain, span_id";

#[test]
fn a_large_file_of_version_1_is_migrated_although_the_host_is_killed_meanwhile() {
    let setting = Setting::new(Backend::Sqlite);
    let file = setting.path().join("traces.db");
    std::fs::copy(root().join("host/library/tests/golden/traces.v1.db"), &file).expect("the golden file is there");
    let database = Connection::open(&file).expect("a database");
    let copies = format!(
        "INSERT INTO event (trace, timestamp, event_id, {SAME}) \
         WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {EVENTS}) \
         SELECT trace, timestamp + n, randomblob(16), {SAME} \
         FROM number, (SELECT * FROM event ORDER BY timestamp LIMIT 1)"
    );
    database.execute_batch("PRAGMA synchronous = OFF").expect("it is ours");
    let recorded: u32 = database.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).expect("a count");
    assert_eq!(database.execute(&copies, []).expect("they fit"), EVENTS as usize);
    drop(database);

    for _ in 0..8 * soak() {
        let mut host = setting.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a host");
        std::thread::sleep(Duration::from_millis(fastrand::u64(1..150)));
        host.kill().expect("it is ours");
        host.wait().expect("it is ours");
    }
    let start = Instant::now();
    let host = Host::start(&setting);
    // One that was killed may have migrated the file.
    let log = host.log();
    assert!(
        !log.contains("migrating") || log.contains("from version 1 to version 2; an older program refuses"),
        "{log}"
    );
    host.stop();
    println!("opened and closed after {:?}", start.elapsed());

    let database = Connection::open(&file).expect("a database");
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, u32>(0)).expect("a number");
    assert_eq!(number("SELECT count(*) FROM event WHERE unmeasured IS NULL AND more IS NULL"), EVENTS + recorded);
    assert_eq!(number("PRAGMA user_version"), 2);
    let sound: String = database.query_row("PRAGMA quick_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(sound, "ok");
    assert_eq!(setting.stdout(&["query", "--format", "json"]).matches("\"flow_id\"").count(), 1);
}
