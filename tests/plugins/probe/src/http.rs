//! HTTP requests through `wasi:http/outgoing-handler`.

use reflow_tracing_plugin::{Result, StorageError};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme, http_error_code,
};
use wasip2::io::streams::StreamError;

use crate::Arguments;

/// Sends a request. Returns the status and the body, or the error. Follows redirects if `follow` is given.
pub fn ask(arguments: &Arguments) -> Result<String> {
    let upload: usize = arguments.find("upload").map_or(Ok(0), str::parse).map_err(|_| invalid("upload"))?;
    let mut authority = arguments.get("authority")?.to_owned();
    let mut path = arguments.find("path").unwrap_or("/").to_owned();
    let scheme = arguments.find("scheme").unwrap_or("http");
    if arguments.find("host").is_some() {
        let forged = Fields::new().set("Host", &[b"forged.example".to_vec()]);
        return Ok(format!("{forged:?}"));
    }
    loop {
        let answer = match exchange(scheme, &authority, &path, upload) {
            Ok(answer) => answer,
            Err(code) => return Ok(format!("{code:?}")),
        };
        match answer.location {
            Some(location) if arguments.find("follow").is_some() => {
                let (_, rest) = location.split_once("://").ok_or_else(|| invalid("location"))?;
                let (host, rest) = rest.split_once('/').ok_or_else(|| invalid("location"))?;
                (authority, path) = (host.into(), format!("/{rest}"));
            }
            _ => return Ok(format!("{} {}", answer.status, answer.body)),
        }
    }
}

fn invalid(argument: &str) -> StorageError {
    StorageError::InvalidArgument(format!("the argument `{argument}` is not valid"))
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

fn exchange(scheme: &str, authority: &str, path: &str, upload: usize) -> std::result::Result<Answer, ErrorCode> {
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.into()),
    };
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_method(if upload > 0 { &Method::Post } else { &Method::Get })
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let body = request.body().map_err(|()| ErrorCode::InternalError(None))?;
    let future = outgoing_handler::handle(request, None)?;
    send(body, upload)?;
    future.subscribe().block();
    let response = future.get().and_then(std::result::Result::ok).ok_or(ErrorCode::InternalError(None))??;
    let location = response.headers().get("location").into_iter().next();
    let location = location.map(|location| String::from_utf8_lossy(&location).into_owned());
    let body = response.consume().map_err(|()| ErrorCode::InternalError(None))?;
    Ok(Answer { status: response.status(), location, body: receive(&body)? })
}

/// Writes a body of `length` bytes, or less if the server stops reading.
fn send(body: OutgoingBody, length: usize) -> std::result::Result<(), ErrorCode> {
    let stream = body.write().map_err(|()| ErrorCode::InternalError(None))?;
    let part = [b'x'; 4096];
    let mut left = length;
    while left > 0 {
        let part = &part[..left.min(part.len())];
        if stream.blocking_write_and_flush(part).is_err() {
            // The response shows why.
            drop(stream);
            let _ = OutgoingBody::finish(body, None);
            return Ok(());
        }
        left -= part.len();
    }
    drop(stream);
    OutgoingBody::finish(body, None)
}

/// The body, or its size when it is large.
fn receive(body: &IncomingBody) -> std::result::Result<String, ErrorCode> {
    let stream = body.stream().map_err(|()| ErrorCode::InternalError(None))?;
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(1024 * 1024) {
            Ok(part) => all.extend(part),
            Err(StreamError::Closed) if all.len() > 1000 => return Ok(format!("{} bytes", all.len())),
            Err(StreamError::Closed) => return Ok(String::from_utf8_lossy(&all).into_owned()),
            Err(StreamError::LastOperationFailed(error)) => {
                let message = error.to_debug_string();
                let first_line = message.lines().next().unwrap_or_default().to_owned();
                return Err(http_error_code(&error).unwrap_or(ErrorCode::InternalError(Some(first_line))));
            }
        }
    }
}
