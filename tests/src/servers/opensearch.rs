use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::root;

/// A stand-in for OpenSearch, in memory: `opensearch/server.py`. It ends when it is dropped.
pub struct OpenSearch {
    process: Child,
    origin: String,
}

impl OpenSearch {
    /// Starts one. With `authorization`, it refuses requests without that value of the header.
    pub fn start(authorization: Option<&str>) -> Self {
        let mut command = Command::new("python3");
        command.arg("-B").arg(root().join("tests/src/servers/opensearch/server.py"));
        command.args(authorization.into_iter().flat_map(|value| ["--authorization", value]));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is installed");
        let mut origin = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut origin).expect("it prints its address");
        Self { process, origin: origin.trim().to_owned() }
    }

    /// `http://HOST:PORT`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Answers the next requests to a path that contains `part` with these, instead of doing what they ask for.
    pub fn answer_next(&self, part: &str, answers: &[(u16, Value)]) {
        let answers: Vec<_> = answers.iter().map(|(status, body)| json!({ "status": status, "body": body })).collect();
        self.ask("POST", "/_next", &json!({ "path": part, "answers": answers }));
    }

    /// The answer to a request, which must succeed.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let address = self.origin.strip_prefix("http://").expect("its address");
        let body = body.to_string();
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("it speaks HTTP");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).expect("it answers with JSON")
    }
}

impl Drop for OpenSearch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
