//! Keys that the backend publishes: fetched when they are needed, kept when they cannot be had, and only those that fit.

use chat_server::auth::PublicAlgorithm;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::common::{
    TestServer,
    backend::{Backend, Reply},
    http, now,
};

const JWKS: &str = "/jwks.json";

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.pem")).unwrap()
}

fn p256() -> EncodingKey {
    EncodingKey::from_ec_pem(include_bytes!("keys/p256.pem")).unwrap()
}

fn ed25519() -> EncodingKey {
    EncodingKey::from_ed_pem(include_bytes!("keys/ed25519.pem")).unwrap()
}

/// The public half, as the backend publishes it.
fn published(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn set(keys: &[Value]) -> Reply {
    Reply::json(200, &json!({"keys": keys}))
}

fn signed(key: &EncodingKey, algorithm: Algorithm, kid: Option<&str>) -> String {
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    };
    let claims = json!({"user_id": 7, "username": "ann", "exp": now() + 60});
    encode(&header, &claims, key).unwrap()
}

async fn server_of(backend: &Backend, algorithm: PublicAlgorithm) -> TestServer {
    let url = format!("{}{JWKS}", backend.url()).parse().unwrap();
    TestServer::with(|config| {
        config.secret = None;
        config.jwks = Some((url, algorithm));
    })
    .await
}

async fn status(server: &TestServer, token: &str) -> u16 {
    http::me(server.address, token).await.status
}

#[tokio::test]
async fn a_token_comes_in_by_the_published_key_that_it_names_and_the_keys_are_fetched_once() {
    for (key, algorithm, ours) in [
        (rsa(), Algorithm::RS256, PublicAlgorithm::Rs256),
        (p256(), Algorithm::ES256, PublicAlgorithm::Es256),
        (ed25519(), Algorithm::EdDSA, PublicAlgorithm::EdDsa),
    ] {
        let backend = Backend::start().await;
        backend.answers(JWKS, set(&[published(&key, algorithm, "one")]));
        let server = server_of(&backend, ours).await;
        for kid in [Some("one"), None] {
            assert_eq!(
                status(&server, &signed(&key, algorithm, kid)).await,
                200,
                "{algorithm:?}"
            );
        }
        assert_eq!(backend.seen(JWKS).len(), 1);
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_names_that_are_invented_fetch_nothing_more()
{
    let backend = Backend::start().await;
    backend.answers(JWKS, set(&[published(&rsa(), Algorithm::RS256, "old")]));
    let server = server_of(&backend, PublicAlgorithm::Rs256).await;
    assert_eq!(
        status(&server, &signed(&rsa(), Algorithm::RS256, Some("old"))).await,
        200
    );
    let both = ["old", "new"].map(|kid| published(&rsa(), Algorithm::RS256, kid));
    backend.answers(JWKS, set(&both));
    assert_eq!(
        status(&server, &signed(&rsa(), Algorithm::RS256, Some("new"))).await,
        200
    );
    for kid in ["invented", "another", ""] {
        let token = signed(&rsa(), Algorithm::RS256, Some(kid));
        let me = http::me(server.address, &token).await;
        assert!(
            me.status == 401 && me.body.contains("--jwks-url does not have"),
            "{}",
            me.body
        );
    }
    // With two keys, one must be named.
    assert_eq!(
        status(&server, &signed(&rsa(), Algorithm::RS256, None)).await,
        401
    );
    assert_eq!(backend.seen(JWKS).len(), 2);
}

#[tokio::test]
async fn the_last_good_keys_are_kept_when_they_cannot_be_fetched() {
    for reply in [
        Reply::status(500),
        Reply::page(),
        Reply::Cut,
        Reply::Endless,
        Reply::redirect("/elsewhere"),
        Reply::json(200, &json!({"keys": []})),
        Reply::json(200, &json!([])),
    ] {
        let backend = Backend::start().await;
        backend.answers(JWKS, set(&[published(&rsa(), Algorithm::RS256, "one")]));
        let server = server_of(&backend, PublicAlgorithm::Rs256).await;
        let good = signed(&rsa(), Algorithm::RS256, Some("one"));
        assert_eq!(status(&server, &good).await, 200);
        // Where the connection breaks, there is one more try.
        let tries = 1 + usize::from(matches!(reply, Reply::Cut));
        backend.answers(JWKS, reply);
        assert_eq!(
            status(&server, &signed(&rsa(), Algorithm::RS256, Some("two"))).await,
            401
        );
        assert_eq!(backend.seen(JWKS).len(), 1 + tries);
        assert_eq!(status(&server, &good).await, 200);
    }
}

#[tokio::test]
async fn without_any_keys_nobody_can_say_and_nobody_comes_in() {
    let backend = Backend::start().await;
    backend.down().await;
    let server = server_of(&backend, PublicAlgorithm::Rs256).await;
    let good = signed(&rsa(), Algorithm::RS256, Some("one"));
    let me = http::me(server.address, &good).await;
    assert_eq!((me.status, &*me.code()), (503, "unavailable"));
}

#[tokio::test]
async fn secrets_and_keys_of_another_algorithm_are_dropped_and_no_token_can_choose_one() {
    let backend = Backend::start().await;
    let secret = b"published by mistake, 32 bytes..";
    let oct = json!({"kty": "oct", "kid": "secret", "alg": "HS256", "k": "cHVibGlzaGVkIGJ5IG1pc3Rha2UsIDMyIGJ5dGVzLi4"});
    let mut encrypting = published(&rsa(), Algorithm::RS256, "encrypting");
    encrypting["use"] = json!("enc");
    let mut other = published(&rsa(), Algorithm::RS256, "other");
    other["alg"] = json!("PS256");
    let keys = [
        oct,
        encrypting,
        other,
        json!({"kty": "new", "kid": "new"}),
        json!({"kty": "RSA", "kid": "damaged", "n": "!", "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"}),
        json!("no key"),
        published(&p256(), Algorithm::ES256, "p256"),
        published(&rsa(), Algorithm::RS256, "good"),
    ];
    backend.answers(JWKS, set(&keys));
    let server = server_of(&backend, PublicAlgorithm::Rs256).await;
    assert_eq!(
        status(&server, &signed(&rsa(), Algorithm::RS256, Some("good"))).await,
        200
    );
    // The only one that is left.
    assert_eq!(
        status(&server, &signed(&rsa(), Algorithm::RS256, None)).await,
        200
    );
    for kid in [
        "encrypting",
        "other",
        "damaged",
        "short",
        "new",
        "p256",
        "secret",
    ] {
        assert_eq!(
            status(&server, &signed(&rsa(), Algorithm::RS256, Some(kid))).await,
            401,
            "{kid}"
        );
    }
    let by_secret = signed(
        &EncodingKey::from_secret(secret),
        Algorithm::HS256,
        Some("secret"),
    );
    let by_p256 = signed(&p256(), Algorithm::ES256, Some("p256"));
    for token in [by_secret, by_p256] {
        let me = http::me(server.address, &token).await;
        assert!(
            me.status == 401 && me.body.contains("RS256 only"),
            "{}",
            me.body
        );
    }
}

#[tokio::test]
async fn a_hundred_tokens_of_a_key_that_is_not_known_yet_are_one_fetch() {
    let backend = Backend::start().await;
    backend.answers(JWKS, set(&[published(&p256(), Algorithm::ES256, "one")]));
    let server = server_of(&backend, PublicAlgorithm::Es256).await;
    let good = signed(&p256(), Algorithm::ES256, Some("one"));
    backend.hold();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (address, token) = (server.address, good.clone());
        asked.spawn(async move { http::me(address, &token).await.status });
    }
    backend.requests(JWKS, 1).await;
    backend.release();
    assert!(
        asked
            .join_all()
            .await
            .into_iter()
            .all(|status| status == 200)
    );
    assert_eq!(backend.seen(JWKS).len(), 1);
}

#[tokio::test]
async fn whoever_leaves_while_keys_are_fetched_makes_nobody_fetch_them_again() {
    let backend = Backend::start().await;
    backend.answers(JWKS, set(&[published(&rsa(), Algorithm::RS256, "one")]));
    let server = server_of(&backend, PublicAlgorithm::Rs256).await;
    let good = signed(&rsa(), Algorithm::RS256, Some("one"));
    assert_eq!(status(&server, &good).await, 200);
    backend.hold();
    let ask = |kid| {
        let (address, token) = (server.address, signed(&rsa(), Algorithm::RS256, Some(kid)));
        tokio::spawn(async move { http::me(address, &token).await.status })
    };
    let left = ask("invented");
    backend.requests(JWKS, 2).await;
    left.abort();
    assert_eq!(
        status(&server, &good).await,
        200,
        "known keys wait for nobody"
    );
    let stays = ask("another");
    assert_eq!(status(&server, &good).await, 200);
    backend.release();
    assert_eq!(stays.await.unwrap(), 401);
    assert_eq!(backend.seen(JWKS).len(), 2);
}

#[tokio::test]
async fn the_name_of_a_key_is_repeated_only_when_it_is_short() {
    let backend = Backend::start().await;
    backend.answers(JWKS, set(&[published(&rsa(), Algorithm::RS256, "one")]));
    let server = server_of(&backend, PublicAlgorithm::Rs256).await;
    for (kid, is_repeated) in [("two", true), (&*"x".repeat(4000), false)] {
        let token = signed(&rsa(), Algorithm::RS256, Some(kid));
        let me = http::me(server.address, &token).await;
        assert_eq!((me.status, me.body.contains(kid)), (401, is_repeated));
    }
}
