//! Answers the challenge of a registry: with a name and a password, or with a token from the server that it names.

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::{Method, header};
use serde::Deserialize;
use url::Url;

use super::credentials::Credentials;
use super::transport::{Call, Transport};

/// The longest answer of a token server.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The value of the header `Authorization` that answers `challenge`.
pub(super) async fn authorization(
    transport: &Transport,
    challenge: &str,
    scope: &str,
    credentials: Option<&Credentials>,
) -> anyhow::Result<String> {
    let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        let credentials = credentials.context(
            "the registry asks for a name and a password: log in with `docker login`, or set \
             REFLOW_TRACING_REGISTRY_USERNAME and REFLOW_TRACING_REGISTRY_PASSWORD",
        )?;
        return Ok(basic(credentials));
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        bail!("the registry asks for {scheme}, which is not supported: expected Basic or Bearer");
    }
    let realm = parameter(parameters, "realm").context("the registry asks for a token, but does not say from where")?;
    let mut url = Url::parse(&realm).with_context(|| format!("the registry asks for a token from `{realm}`"))?;
    transport.check(&url).context("the registry asks for a token")?;
    if let Some(service) = parameter(parameters, "service") {
        url.query_pairs_mut().append_pair("service", &service);
    }
    url.query_pairs_mut().append_pair("scope", parameter(parameters, "scope").as_deref().unwrap_or(scope));
    let mut call = Call::new(Method::GET, url.clone());
    if let Some(credentials) = credentials {
        call = call.with(header::AUTHORIZATION, &basic(credentials))?;
    }
    let answer = transport.send(call).await?;
    if !answer.status().is_success() {
        let what = match credentials {
            Some(_) => "no token: are the name and the password right?",
            None => "no token: is the name right, or is a `docker login` missing?",
        };
        return Err(answer.error(what).await);
    }
    let body = answer.body(MAX_TOKEN_BYTES, "the token").await?;
    let token: Token = serde_json::from_slice(&body).with_context(|| format!("{url} gives no valid token"))?;
    let token = token.token.or(token.access_token).with_context(|| format!("{url} gives no token"))?;
    Ok(format!("Bearer {token}"))
}

fn basic(Credentials { username, password }: &Credentials) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

/// The parameter of a challenge: `realm="https://..",service=".."`.
fn parameter(mut parameters: &str, wanted: &str) -> Option<String> {
    while let Some((name, rest)) = parameters.split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if name.trim_matches([' ', ',']).eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        parameters = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::parameter;

    #[test]
    fn parameters_of_a_challenge_are_found_quoted_or_not() {
        let challenge = r#"realm="https://auth.example/token",service=registry, scope="repository:a/b:pull,push""#;
        assert_eq!(parameter(challenge, "realm").as_deref(), Some("https://auth.example/token"));
        assert_eq!(parameter(challenge, "service").as_deref(), Some("registry"));
        assert_eq!(parameter(challenge, "Scope").as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(parameter(challenge, "error"), None);
        assert_eq!(parameter("realm=\"unfinished", "realm"), None);
    }
}
