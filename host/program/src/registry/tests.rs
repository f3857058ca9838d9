//! Against registries that lie. Those that behave are tested end to end, with a real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures::stream;
use serde_json::json;
use tokio::net::TcpListener;

use super::artifact::MANIFEST;
use super::client::Registry;
use super::reference::{Digest, Reference};

const COMPONENT: &[u8] = b"a component";

/// The address of a registry with this router, which runs until the test ends.
async fn start(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn manifest(size: usize, layer_type: &str) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(b"{}").to_string(), "size": 2 },
        "layers": [{ "mediaType": layer_type, "digest": Digest::of(COMPONENT).to_string(), "size": size }],
    })
    .to_string()
}

fn good_manifest() -> String {
    manifest(COMPONENT.len(), "application/wasm")
}

/// A registry with these answers for every manifest and for every blob.
async fn registry<M, B>(
    manifest: impl Fn() -> M + Clone + Send + Sync + 'static,
    blob: impl Fn() -> B + Clone + Send + Sync + 'static,
) -> String
where
    M: IntoResponse,
    B: IntoResponse,
{
    let manifests = get(async move |_: Path<String>| manifest().into_response());
    let blobs = get(async move |_: Path<String>| blob().into_response());
    start(Router::new().route("/v2/a/b/manifests/{reference}", manifests).route("/v2/a/b/blobs/{digest}", blobs)).await
}

async fn pull(address: &str, rest: &str) -> Result<Vec<u8>, String> {
    let reference: Reference = format!("oci://{address}/a/b{rest}").parse().unwrap();
    let pulled = Registry::new(&reference, false).unwrap().pull(|_| Ok(())).await;
    pulled.map(|artifact| artifact.component).map_err(|error| format!("{error:#}"))
}

#[track_caller]
fn assert_says(refused: &Result<Vec<u8>, String>, part: &str) {
    let error = refused.as_ref().expect_err("an error");
    assert!(error.contains(part) && error.contains("oci://"), "{part:?} is missing in: {error}");
}

/// A body without an end.
fn endless() -> Response {
    Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 64 * 1024]))).into_response()
}

#[tokio::test]
async fn a_component_is_pulled_by_its_tag_and_by_its_digest() {
    let address = registry(good_manifest, || COMPONENT).await;
    assert_eq!(pull(&address, ":1").await.unwrap(), COMPONENT);
    let pinned = format!(":1@{}", Digest::of(good_manifest().as_bytes()));
    assert_eq!(pull(&address, &pinned).await.unwrap(), COMPONENT);
}

#[tokio::test]
async fn content_with_another_digest_or_length_is_refused() {
    let address = registry(good_manifest, || COMPONENT).await;
    let other = format!("@{}", Digest::of(b"another"));
    assert_says(&pull(&address, &other).await, "in place of");
    let changed = registry(good_manifest, || &b"b component"[..]).await;
    assert_says(&pull(&changed, ":1").await, "has the digest");
    let short = registry(good_manifest, || &b"a comp"[..]).await;
    assert_says(&pull(&short, ":1").await, "has 6 bytes");
    let long = registry(good_manifest, || &b"a component and more"[..]).await;
    assert_says(&pull(&long, ":1").await, "longer than 11 bytes");
}

#[tokio::test]
async fn answers_without_an_end_are_read_up_to_their_limit() {
    let address = registry(endless, || COMPONENT).await;
    assert_says(&pull(&address, ":1").await, "longer than 4194304 bytes");
    let address = registry(good_manifest, endless).await;
    assert_says(&pull(&address, ":1").await, "longer than 11 bytes");
    let address = registry(|| (StatusCode::INTERNAL_SERVER_ERROR, endless()), || COMPONENT).await;
    assert_says(&pull(&address, ":1").await, "500");
    let huge = registry(|| manifest(1 << 40, "application/wasm"), endless).await;
    assert_says(&pull(&huge, ":1").await, "at most 256");
}

#[tokio::test]
async fn what_is_not_a_component_is_refused_with_its_type() {
    let layer = registry(|| manifest(11, "application/vnd.oci.image.layer.v1.tar+gzip"), || COMPONENT).await;
    assert_says(&pull(&layer, ":1").await, "vnd.oci.image.layer.v1.tar+gzip");
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] });
    let index = registry(move || index.to_string(), || COMPONENT).await;
    assert_says(&pull(&index, ":1").await, "vnd.oci.image.index.v1+json");
    let image =
        registry(|| good_manifest().replace("vnd.wasm.config.v0", "vnd.oci.image.config.v1"), || COMPONENT).await;
    assert_says(&pull(&image, ":1").await, "vnd.oci.image.config.v1");
    let web_page = registry(|| "<html>", || COMPONENT).await;
    assert_says(&pull(&web_page, ":1").await, "its manifest is not valid");
    let nothing = start(Router::new()).await;
    assert_says(&pull(&nothing, ":1").await, "no such component");
}

#[tokio::test]
async fn redirects_are_followed_but_not_in_a_circle_nor_to_plain_http_elsewhere() {
    let storage = start(Router::new().route("/there", get(|| async { COMPONENT }))).await;
    let there = format!("http://{storage}/there");
    let address =
        registry(good_manifest, move || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, there.clone())])).await;
    assert_eq!(pull(&address, ":1").await.unwrap(), COMPONENT);
    let circle = registry(|| (StatusCode::FOUND, [(header::LOCATION, "1")]), || COMPONENT).await;
    assert_says(&pull(&circle, ":1").await, "redirects more than 5 times");
    for (location, part) in [
        ("http://192.0.2.1/x", "plain HTTP"),
        ("file:///etc/passwd", "names no host"),
        ("gopher://127.0.0.1/x", "scheme gopher"),
    ] {
        let address = registry(good_manifest, move || (StatusCode::FOUND, [(header::LOCATION, location)])).await;
        assert_says(&pull(&address, ":1").await, part);
    }
}

#[tokio::test]
async fn a_token_is_fetched_and_not_sent_to_where_the_registry_redirects() {
    let leaked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&leaked);
    let storage = start(Router::new().fallback(any(async move |request: Request| {
        counted.fetch_add(request.headers().contains_key(header::AUTHORIZATION).into(), SeqCst);
        COMPONENT
    })))
    .await;
    let tokens = start(Router::new().route(
        "/token",
        get(async |request: Request| {
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains("service=s") && query.contains("scope=repository%3Aa%2Fb%3Apull"), "{query}");
            r#"{"token": "t0k3n"}"#
        }),
    ))
    .await;
    let challenge = format!("Bearer realm=\"http://{tokens}/token\",service=\"s\",scope=\"repository:a/b:pull\"");
    let address = start(Router::new().fallback(any(async move |request: Request| {
        if request.headers().get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer t0k3n") {
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge.clone())]).into_response();
        }
        match request.uri().path().contains("/manifests/") {
            true => good_manifest().into_response(),
            false => (StatusCode::FOUND, [(header::LOCATION, format!("http://{storage}/x"))]).into_response(),
        }
    })))
    .await;
    assert_eq!(pull(&address, ":1").await.unwrap(), COMPONENT);
    assert_eq!(leaked.load(SeqCst), 0);
}

#[tokio::test]
async fn a_challenge_that_leads_astray_is_refused() {
    for (challenge, part) in [
        ("Bearer realm=\"http://192.0.2.1/token\"", "plain HTTP"),
        ("Bearer service=\"s\"", "does not say from where"),
        ("Basic realm=\"r\"", "docker login"),
        ("Negotiate", "not supported"),
    ] {
        let answer = move || (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]);
        assert_says(&pull(&registry(answer, || COMPONENT).await, ":1").await, part);
    }
    let tokens = start(Router::new().route("/token", get(async || endless()))).await;
    let challenge = format!("Bearer realm=\"http://{tokens}/token\"");
    let answer = move || (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge.clone())]);
    assert_says(&pull(&registry(answer, || COMPONENT).await, ":1").await, "longer than 65536 bytes");
}

#[test]
fn references_are_read_and_wrong_ones_say_what_is_expected() {
    let digest = Digest::of(b"x").to_string();
    for text in ["oci://ghcr.io/acme/ledger:1.0", "oci://127.0.0.1:5000/a:v1", "oci://[::1]:5000/a_b/c-d.e:v1"] {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        let pinned = format!("{text}@{digest}");
        assert_eq!(pinned.parse::<Reference>().unwrap().to_string(), pinned);
    }
    assert_eq!("oci://ghcr.io/acme/ledger:1.0".parse::<Reference>().unwrap().short_name(), "ledger");
    for (wrong, part) in [
        ("ghcr.io/a:1", "does not begin with oci://"),
        ("oci://ghcr.io", "no name"),
        ("oci://ghcr.io/a", "no tag"),
        ("oci://ghcr.io/A:1", "the name is not valid"),
        ("oci://ghcr.io/a/../b:1", "the name is not valid"),
        ("oci://ghcr.io/a:b c", "the tag is not valid"),
        ("oci://ann:secret@ghcr.io/a:1", "the host is not valid"),
        ("oci://ghcr.io/a@sha256:12", "not a digest"),
        ("oci://ghcr.io/a@sha512:12", "not a digest"),
    ] {
        let error = wrong.parse::<Reference>().unwrap_err();
        assert!(error.contains(part) && error.contains("expected oci://"), "{wrong}: {error}");
    }
}
