//! Clients that compress their messages, as Reflow's programs can.

use std::io::Write;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::command_line::{Host, folder};

/// What each compression makes of a message.
fn compressed(json: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(json).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(json).unwrap();
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut &*json, &mut brotli, &brotli::enc::BrotliEncoderParams::default()).unwrap();
    vec![
        ("zstd", zstd::encode_all(json, 3).unwrap()),
        ("gzip", gzip.finish().unwrap()),
        ("lz4", lz4.finish().unwrap()),
        ("block", lz4_flex::block::compress_prepend_size(json)),
        ("brotli", brotli),
    ]
}

fn event(actor: &str, attribute: &str) -> Value {
    let event = reflow_tracing::TraceEvent {
        actor_id: actor.into(),
        data: reflow_tracing::TraceEventData {
            custom_attributes: [("attribute".to_owned(), json!(attribute))].into(),
            ..Default::default()
        },
        ..Default::default()
    };
    json!(event)
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_messages_are_stored_and_a_bomb_is_refused() {
    let folder = folder();
    let host = Host::start(folder.path());
    let (mut socket, _) = connect_async(&host.url).await.unwrap();
    let mut ask = async |message: Message| -> Value {
        socket.send(message).await.unwrap();
        serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
    };
    let trace_id = reflow_tracing::TraceId::new();
    let version = reflow_tracing::FlowVersion::default();
    let start = json!({"StartTrace": {"trace_id": trace_id, "flow_id": "compressed", "version": version}});
    ask(Message::text(start.to_string())).await;

    let (mut sent, mut plain) = (0, 0);
    for (size, attribute) in [("small", "x".to_owned()), ("large", "0123456789".repeat(200_000))] {
        let names = compressed(b"").into_iter().map(|(name, _)| name);
        for (number, name) in names.enumerate() {
            let record =
                json!({"RecordEvent": {"trace_id": trace_id, "event": event(&format!("{name} {size}"), &attribute)}});
            let record = record.to_string();
            let (_, message) = compressed(record.as_bytes()).swap_remove(number);
            (sent, plain) = (sent + message.len(), plain + record.len());
            let answer = ask(Message::binary(message)).await;
            assert_eq!(answer["EventRecorded"]["success"], true, "{name} {size}: {answer}");
        }
    }
    let get = json!({"GetTrace": {"trace_id": trace_id}}).to_string();
    let (_, message) = compressed(get.as_bytes()).swap_remove(0);
    sent += message.len();
    plain += get.len();
    let trace = ask(Message::binary(message)).await["TraceData"]["trace"].take();
    let actors: Vec<_> = trace["events"].as_array().unwrap().iter().map(|event| &event["actor_id"]).collect();
    for name in ["zstd", "gzip", "lz4", "block", "brotli"] {
        for size in ["small", "large"] {
            assert!(actors.contains(&&json!(format!("{name} {size}"))), "{name} {size} is missing in {actors:?}");
        }
    }
    let large = trace["events"].as_array().unwrap().iter().find(|event| event["actor_id"] == "brotli large").unwrap();
    assert_eq!(large["data"]["custom_attributes"]["attribute"].as_str().unwrap().len(), 2_000_000);

    // 1 GiB of blanks in few bytes.
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    let blanks = vec![b' '; 1 << 20];
    (0..1024).for_each(|_| bomb.write_all(&blanks).unwrap());
    let answer = ask(Message::binary(bomb.finish().unwrap())).await;
    let message = answer["Error"]["message"].as_str().unwrap();
    assert!(message.contains("zstd") && message.contains("more than 16 MiB"), "{message}");
    assert_eq!(ask(Message::text(r#""Ping""#)).await, "Pong", "the connection goes on");

    let metrics = metrics(&host);
    let value = |name: &str| -> usize {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("reflow_tracing_{name} ")));
        line.unwrap_or_else(|| panic!("{name} is missing in {metrics}")).parse().unwrap()
    };
    assert_eq!(value("decompressed_bytes_total"), plain);
    let received = value("received_bytes_total");
    assert!((sent..sent + 200_000).contains(&received), "{received} bytes received, {sent} sent and the bomb");
}

fn metrics(host: &Host) -> String {
    use std::io::Read;
    let address = host.url.strip_prefix("ws://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
