//! HTTP requests to the origins that the operator has granted. Needs the feature `http` of this crate.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use reflow_tracing_plugin::http::Request;
//! use reflow_tracing_plugin::{Result, StorageError};
//!
//! fn announce(text: &str) -> Result<()> {
//!     let request = Request::new("POST", "https://example.com/hooks")?.header("content-type", "text/plain");
//!     let response = request.within(Duration::from_secs(2)).send(text.as_bytes())?;
//!     match response.status {
//!         200..300 => Ok(()),
//!         status => Err(StorageError::Unavailable(format!("it answered {status}"))),
//!     }
//! }
//! ```

use std::fmt;
use std::time::{Duration, Instant};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler;
use wasip2::http::types::http_error_code;
use wasip2::http::types::{ErrorCode, Fields, IncomingBody, IncomingResponse, Method};
use wasip2::http::types::{OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::StreamError;

use crate::StorageError;

/// Bytes of an answer's body that are read at most, unless [`Request::read_at_most`] says otherwise.
const MAX_BODY: usize = 1024 * 1024;
/// How long a request may take, unless [`Request::within`] says otherwise.
const WITHIN: Duration = Duration::from_secs(4);

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: String,
    scheme: Scheme,
    authority: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    within: Duration,
    max_body: usize,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status, such as 200.
    pub status: u16,
    /// Its header fields, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The request is not valid: its URL, its method or a header.
    Invalid(String),
    /// The host does not allow it: the operator has not granted the origin.
    Denied(String),
    /// There was no answer, or none in time.
    Unavailable(String),
    /// The body of the answer is larger than allowed.
    TooLarge(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Invalid(text)
        | Self::Denied(text)
        | Self::Unavailable(text)
        | Self::TooLarge(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

/// Lets `?` convert an error of a request.
impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(message) | Error::Denied(message) => Self::InvalidArgument(message),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::TooLarge(message) => Self::Exhausted(message),
        }
    }
}

impl Request {
    /// A request to a URL such as `https://example.com/traces?of=billing`.
    pub fn new(method: &str, url: &str) -> Result<Self, Error> {
        let invalid = || Error::Invalid(format!("`{url}` is not an address of http or https"));
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(invalid()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(invalid());
        }
        Ok(Self {
            method: method_of(method),
            url: url.into(),
            scheme,
            authority: authority.into(),
            path: if path.starts_with('/') {
                path.into()
            } else {
                format!("/{path}")
            },
            headers: Vec::new(),
            within: WITHIN,
            max_body: MAX_BODY,
        })
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The time that the whole request may take: 4 seconds unless set, which is less than the host allows a call.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The bytes that the body of the answer may have: a mebibyte unless set.
    #[must_use]
    pub fn read_at_most(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sends it with this body, and waits for the answer.
    pub fn send(&self, body: &[u8]) -> Result<Response, Error> {
        let deadline = Deadline {
            end: Instant::now() + self.within,
            request: self,
        };
        let request = self.outgoing(body.len())?;
        let outgoing = request.body().map_err(|()| self.invalid("its body"))?;
        // Without options: the deadline bounds every wait, and hosts have a limit of their own for connecting.
        let pending = outgoing_handler::handle(request, None).map_err(|code| self.failed(&code))?;
        // A receiver that refuses may stop reading: its answer says why.
        let written = self.write(outgoing, body, &deadline);
        deadline.wait(&pending.subscribe())?;
        let answer = pending.get().and_then(Result::ok);
        let response = answer
            .unwrap_or(Err(ErrorCode::InternalError(None)))
            .map_err(|code| self.failed(&code))?;
        if response.status() < 300 {
            written?;
        }
        self.read(&response, &deadline)
    }

    fn outgoing(&self, length: usize) -> Result<OutgoingRequest, Error> {
        let fields = Fields::new();
        let length = [("content-length".to_owned(), length.to_string().into_bytes())];
        for (name, value) in self.headers.iter().chain(&length) {
            fields
                .append(name, value)
                .map_err(|_| self.invalid(&format!("the header `{name}`")))?;
        }
        let request = OutgoingRequest::new(fields);
        request
            .set_method(&self.method)
            .and_then(|()| request.set_scheme(Some(&self.scheme)))
            .and_then(|()| request.set_authority(Some(&self.authority)))
            .and_then(|()| request.set_path_with_query(Some(&self.path)))
            .map_err(|()| self.invalid("its method or its address"))?;
        Ok(request)
    }

    fn write(
        &self,
        outgoing: OutgoingBody,
        mut body: &[u8],
        deadline: &Deadline<'_>,
    ) -> Result<(), Error> {
        let stream = outgoing.write().map_err(|()| self.invalid("its body"))?;
        let ended = |_: StreamError| {
            Error::Unavailable(format!("{} stopped reading what it was sent", self.url))
        };
        while !body.is_empty() {
            let allowed =
                usize::try_from(stream.check_write().map_err(ended)?).unwrap_or(usize::MAX);
            if allowed == 0 {
                deadline.wait(&stream.subscribe())?;
                continue;
            }
            let (now, later) = body.split_at(allowed.min(body.len()));
            stream.write(now).map_err(ended)?;
            body = later;
        }
        // An empty body has nothing to wait for; what a receiver does not read shows in its answer.
        if stream.flush().is_ok() {
            deadline.wait(&stream.subscribe())?;
        }
        drop(stream);
        OutgoingBody::finish(outgoing, None).map_err(|code| self.failed(&code))
    }

    fn read(
        &self,
        response: &IncomingResponse,
        deadline: &Deadline<'_>,
    ) -> Result<Response, Error> {
        let headers = response.headers().entries();
        let body: IncomingBody = response
            .consume()
            .map_err(|()| self.failed(&ErrorCode::InternalError(None)))?;
        let stream = body
            .stream()
            .map_err(|()| self.failed(&ErrorCode::InternalError(None)))?;
        let mut all = Vec::new();
        loop {
            deadline.wait(&stream.subscribe())?;
            match stream.read(64 * 1024) {
                Ok(part) => all.extend(part),
                Err(StreamError::Closed) => {
                    return Ok(Response {
                        status: response.status(),
                        headers,
                        body: all,
                    });
                }
                Err(StreamError::LastOperationFailed(error)) => {
                    let code = http_error_code(&error).unwrap_or(ErrorCode::InternalError(None));
                    return Err(self.failed(&code));
                }
            }
            if all.len() > self.max_body {
                let message = format!(
                    "{} answered with more than {} bytes",
                    self.url, self.max_body
                );
                return Err(Error::TooLarge(message));
            }
        }
    }

    fn invalid(&self, what: &str) -> Error {
        Error::Invalid(format!("the request to {} is not valid: {what}", self.url))
    }

    fn failed(&self, code: &ErrorCode) -> Error {
        let Self { url, .. } = self;
        match code {
            ErrorCode::HttpRequestDenied => Error::Denied(format!(
                "the host does not allow requests to {url}: its origin must be among the grants of `http`"
            )),
            ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
                self.invalid("its address or method")
            }
            code => Error::Unavailable(format!("{url} can't be reached: {code}")),
        }
    }
}

/// When a request must be done.
struct Deadline<'a> {
    end: Instant,
    request: &'a Request,
}

impl Deadline<'_> {
    fn nanoseconds(&self) -> u64 {
        let left = self.end.saturating_duration_since(Instant::now());
        u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits until it is ready.
    fn wait(&self, pollable: &Pollable) -> Result<(), Error> {
        let timer = subscribe_duration(self.nanoseconds());
        if poll(&[pollable, &timer]).contains(&0) {
            return Ok(());
        }
        let Request { url, within, .. } = self.request;
        Err(Error::Unavailable(format!(
            "{url} did not answer within {within:?}"
        )))
    }
}

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_address_are_found() {
        for (url, authority, path) in [
            ("https://example.com", "example.com", "/"),
            ("http://127.0.0.1:80/a/b?c=d#e", "127.0.0.1:80", "/a/b?c=d"),
            ("http://[::1]:80?c", "[::1]:80", "/?c"),
        ] {
            let request = Request::new("GET", url).unwrap();
            assert_eq!(
                (&*request.authority, &*request.path),
                (authority, path),
                "{url}"
            );
        }
        for url in [
            "",
            "example.com",
            "ftp://example.com",
            "https:///a",
            "http://a b/",
            "http://a/\n",
        ] {
            let error = Request::new("GET", url).unwrap_err();
            assert!(error.to_string().contains("http or https"), "{error}");
        }
    }

    #[test]
    fn an_error_says_whether_a_retry_can_help() {
        assert!(matches!(
            Error::Unavailable(String::new()).into(),
            StorageError::Unavailable(_)
        ));
        assert!(matches!(
            Error::Denied(String::new()).into(),
            StorageError::InvalidArgument(_)
        ));
        assert!(matches!(
            Error::TooLarge(String::new()).into(),
            StorageError::Exhausted(_)
        ));
    }
}
